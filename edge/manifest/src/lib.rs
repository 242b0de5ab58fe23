//! Resources as people write them: YAML in, resources or located errors out.
