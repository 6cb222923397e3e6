//! Publishing orders: acknowledged means written.
