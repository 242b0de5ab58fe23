//! Which endpoint gets the request.
