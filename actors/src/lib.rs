//! The actors of remex.
