//! Practice servers that speak the real wire protocols.
