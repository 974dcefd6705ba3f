//! The `sillage` program.

fn main() -> std::process::ExitCode {
    sillage::cli::run()
}
