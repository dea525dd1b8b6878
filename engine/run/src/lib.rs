//! Executes a plan: journal, locks, the loop, attempts, children.
