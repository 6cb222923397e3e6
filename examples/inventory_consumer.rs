//! Applies inventory orders from Kafka to a store, each once.

mod face;

fn main() -> std::process::ExitCode {
    face::consume::main::<orderflow::order::InventoryOrder>()
}
