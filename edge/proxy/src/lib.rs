//! The data plane: listeners and connections; asks balance for the endpoint.
