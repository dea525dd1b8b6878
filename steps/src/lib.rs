//! Every step kind and target kind.
