//! Monitor: raw reports in, validated facts out.
