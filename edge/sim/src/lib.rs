//! The world that lies, grown from one seed.
