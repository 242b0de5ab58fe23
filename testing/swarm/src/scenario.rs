//! Single stories by script.
