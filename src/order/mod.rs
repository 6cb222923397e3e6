//! What an order is: parsed, validated, encoded, identified.
