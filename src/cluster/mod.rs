//! Which broker to ask: metadata, leaders, coordinators, connections.
