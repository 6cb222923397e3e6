//! Publishes inventory orders from files, stdin or a generator.

mod face;

fn main() -> std::process::ExitCode {
    face::produce::main::<orderflow::order::InventoryOrder>()
}
