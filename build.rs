//! Nothing is compiled or probed here: the kernel and the C library are probed at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
