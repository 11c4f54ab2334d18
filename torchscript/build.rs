//! Compiles the shim against libtorch and links both.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=src");
    let libtorch = std::env::var_os("LIBTORCH").map(PathBuf::from);
    let libtorch = libtorch.expect("LIBTORCH names the folder of libtorch (hack/libtorch makes the link)");
    let include = libtorch.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .files(["src/shim.cpp", "src/onnx.cpp"])
        // As libtorch was built.
        .define("ONNX_NAMESPACE", "onnx_torch")
        // Not ours to repair.
        .flag("-isystem")
        .flag(include.to_str().expect("the path of libtorch is UTF-8"))
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include").to_str().expect("the path of libtorch is UTF-8"))
        .flag("-Wall")
        .opt_level(2)
        .debug(false)
        .compile("sluice_torchscript");
    let lib = libtorch.join("lib");
    let lib = lib.canonicalize().unwrap_or(lib);
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=dylib=torch_cpu");
    println!("cargo:rustc-link-lib=dylib=c10");
    // For this crate's tests.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
}
