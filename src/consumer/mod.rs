//! Reading orders: positions, dispatch, handlers.
