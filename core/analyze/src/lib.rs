//! Analyze: facts in, findings with a confidence out.
