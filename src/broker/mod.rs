//! The in-process development broker. In memory, never for production.
