//! Tells the linker where the programs will find libtorch.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    // In an image the libraries lie beside the program's folder, so that it can be moved as a whole.
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    // Here they lie where `hack/libtorch` put them. Cargo sets LD_LIBRARY_PATH itself for `cargo test`, over
    // what .cargo/config.toml says, so the path has to be in the program.
    let Some(libtorch) = std::env::var_os("LIBTORCH") else { return };
    if let Ok(lib) = Path::new(&libtorch).join("lib").canonicalize() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
}
