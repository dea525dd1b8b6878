//! HTTP servers: requests, waits, scenarios, and the target kind `http`.
