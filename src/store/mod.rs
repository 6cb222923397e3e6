//! Keeping effects and positions in one transaction.
