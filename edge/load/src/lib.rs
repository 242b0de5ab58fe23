//! An open-loop HTTP load generator that corrects for coordinated omission.
