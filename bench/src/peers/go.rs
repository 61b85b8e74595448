//! Go's goroutines: a program of its own, which is built if there is a Go.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/go/main.go");

/// Builds the program, and names the command that starts it.
pub(super) fn program(build_dir: &Path) -> Result<Command, String> {
    let program = build_dir.join("bench-go");
    let output = Command::new("go")
        .args(["build", "-o"])
        .args([&program, Path::new(SOURCE)])
        .output()
        .map_err(|error| format!("there is no `go` command: {error}"))?;
    if output.status.success() {
        Ok(Command::new(program))
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("`go build` fails: {}", errors.trim()))
    }
}
