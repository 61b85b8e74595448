//! Nothing is compiled or probed here: the kernel and the C library are probed at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // For the tests, to which the compiler does not tell how they are built.
    let level = std::env::var("OPT_LEVEL").expect("Cargo sets it");
    println!("cargo::rustc-env=GREENLET_OPT_LEVEL={level}");
}
