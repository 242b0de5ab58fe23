//! Guard: a second pair of eyes on a plan, which can only refuse.
