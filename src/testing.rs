//! Driving a handler in a test, without broker, socket or real time.
