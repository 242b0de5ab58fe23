//! The journal of inputs with digests of outputs, on disk.
