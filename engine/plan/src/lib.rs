//! Text to a Plan that cannot be wrong.
