//! Administrative requests.
