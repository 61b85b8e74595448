//! gevent: a Python program, which runs if there is a Python that has gevent.

use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/gevent.py");

/// Looks for gevent, and names the command that starts the program.
pub(super) fn program() -> Result<Command, String> {
    let output = Command::new("python3")
        .args(["-c", "import gevent"])
        .output()
        .map_err(|error| format!("there is no `python3` command: {error}"))?;
    if !output.status.success() {
        return Err("python3 has no module gevent".into());
    }
    let mut command = Command::new("python3");
    command.arg(SOURCE);
    Ok(command)
}
