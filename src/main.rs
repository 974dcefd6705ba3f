//! The `sillage` program.

/// Here and not in the library, so that the benchmark can count what it does: there the same
/// allocator is in a wrapper.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sillage::run()
}
