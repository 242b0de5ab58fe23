//! What the loop remembers: folded facts and outcomes in bounded windows.
