//! Holds the layers: who may import whom, and which folder owns which dangerous thing.
//!
//! | layer | modules | may import |
//! |---|---|---|
//! | 0 | arch | |
//! | 1 | sys | the layer below |
//! | 2 | abort, atomic, error, interest, json, lock, owner, reason, record, waker | below, and each other without circles |
//! | 3 | reactor, stack, timer, tls, unwind | below |
//! | 4 | sched | below |
//! | 5 | blocking, source | below |
//! | 6 | all others | below, and each other without circles |
//! | 7 | monkey | below |
//!
//! lib.rs, which re-exports, is free, and so are files and folders called `tests`. The sources are read as tokens, without comments and
//! literals; nothing is expanded, so a macro could hide what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

/// Layers of the modules at the root of the crate; those not named are in [`PUBLIC_LAYER`].
const LAYERS: [(&str, u8); 21] = [
    ("arch", 0),
    ("sys", 1),
    ("abort", 2),
    ("atomic", 2),
    ("error", 2),
    ("interest", 2),
    ("json", 2),
    ("lock", 2),
    ("owner", 2),
    ("reason", 2),
    ("record", 2),
    ("waker", 2),
    ("reactor", 3),
    ("stack", 3),
    ("timer", 3),
    ("tls", 3),
    ("unwind", 3),
    ("sched", 4),
    ("blocking", 5),
    ("source", 5),
    ("monkey", 7),
];

/// What users see.
const PUBLIC_LAYER: u8 = 6;

/// Layers whose modules may import each other, without circles.
const LAYERS_WITH_SIBLINGS: [u8; 2] = [2, PUBLIC_LAYER];

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// A source, its path relative to the package.
struct Source {
    file: String,
    text: String,
}

#[test]
fn the_crate_keeps_to_its_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in ["arch", "src"] {
        read_folder(root, &root.join(folder), &mut sources);
    }
    assert!(sources.iter().any(|source| source.file == "src/lib.rs"));
    assert!(sources.iter().any(|source| source.file == "arch/mod.rs"));
    let violations = check(&sources);
    let list: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(list.is_empty(), "layering:\n{}", list.join("\n"));
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_folder(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root).expect("below the root");
            sources.push(Source {
                file: file.to_string_lossy().into_owned(),
                text: fs::read_to_string(&path).expect("UTF-8"),
            });
        }
    }
}

/// All violations, in the order of files and lines.
fn check(sources: &[Source]) -> Vec<Violation> {
    let tested = sources.iter().filter(|source| !is_test(&source.file));
    let scanned: Vec<Scan> = tested.map(Scan::new).collect();
    // What lib.rs re-exports is reached as `crate::Name`, and belongs to the module it is from.
    let exports: BTreeMap<String, String> = scanned
        .iter()
        .filter(|scan| scan.file == "src/lib.rs")
        .flat_map(Scan::exports)
        .collect();
    let mut violations = BTreeSet::new();
    let mut siblings = BTreeMap::new();
    for scan in &scanned {
        violations.extend(scan.owners());
        if scan.file != "src/lib.rs" {
            violations.extend(scan.imports(&exports, &mut siblings));
        }
    }
    violations.extend(circles(&siblings));
    violations.into_iter().collect()
}

/// Whether a file is compiled into tests only, by its name or its folder's.
fn is_test(file: &str) -> bool {
    file.split(['/', '.']).any(|part| part == "tests")
}

fn layer(module: &str) -> u8 {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map_or(PUBLIC_LAYER, |&(_, layer)| layer)
}

/// Imports between modules of one layer: from, to, and where.
type Siblings = BTreeMap<(String, String), (String, usize)>;

/// Every import that is part of a circle.
fn circles(siblings: &Siblings) -> Vec<Violation> {
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module) {
                let imports = siblings.keys().filter(|(importer, _)| importer == module);
                next.extend(imports.map(|(_, imported)| imported.as_str()));
            }
        }
        false
    };
    siblings
        .iter()
        .filter(|((from, to), _)| reaches(to, from))
        .map(|((from, to), (file, line))| Violation {
            file: file.clone(),
            line: *line,
            rule: format!(
                "`{from}` imports `{to}`, which imports `{from}`, by itself or by others"
            ),
        })
        .collect()
}

/// A path in the code, made absolute.
struct Reference {
    /// From the root of the crate or, in `exports`, from where the path is written.
    segments: Vec<String>,
    /// What it is called here.
    name: String,
    line: usize,
}

/// The tokens of a source.
struct Scan {
    file: String,
    /// The module path of the file, without `crate`.
    module: Vec<String>,
    tokens: Vec<Token>,
}

impl Scan {
    fn new(source: &Source) -> Self {
        Self {
            file: source.file.clone(),
            module: module_of(&source.file),
            tokens: tokenize(&source.text),
        }
    }

    /// The module at the root of the crate that this file belongs to.
    fn top(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    fn violation(&self, line: usize, rule: impl Into<String>) -> Violation {
        Violation {
            file: self.file.clone(),
            line,
            rule: rule.into(),
        }
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    fn previous(&self, at: usize) -> &str {
        at.checked_sub(1).map_or("", |at| self.text(at))
    }

    /// Imports that go upwards or sideways; those between siblings that may are collected.
    fn imports(
        &self,
        exports: &BTreeMap<String, String>,
        siblings: &mut Siblings,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        for Reference { segments, line, .. } in self.references() {
            let from = self.top();
            let Some(first) = segments.first().filter(|first| *first != "*") else {
                if layer(from) < PUBLIC_LAYER {
                    violations
                        .push(self.violation(line, "imports everything from the crate's root"));
                }
                continue;
            };
            let to = exports.get(first).unwrap_or(first).as_str();
            if to.starts_with(char::is_uppercase) && layer(from) < PUBLIC_LAYER {
                let rule = format!("imports `crate::{to}`, which no module of the crate owns");
                violations.push(self.violation(line, rule));
                continue;
            }
            if to == from || layer(to) < layer(from) || to.starts_with(char::is_uppercase) {
                continue;
            }
            if layer(to) == layer(from) && LAYERS_WITH_SIBLINGS.contains(&layer(to)) {
                let edge = (from.to_owned(), to.to_owned());
                siblings.entry(edge).or_insert((self.file.clone(), line));
                continue;
            }
            let rule = format!(
                "`{from}` (layer {}) imports `{to}` (layer {})",
                layer(from),
                layer(to)
            );
            violations.push(self.violation(line, rule));
        }
        violations
    }

    /// Things that only one folder may use.
    fn owners(&self) -> Vec<Violation> {
        let top = self.top();
        let calls_libc = ["sys", "monkey"].contains(&top);
        let tests = self.test_lines();
        let names = self.libc_names();
        let mut violations = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let next = self.text(at + 1);
            let rule = match token.text.as_str() {
                "asm" | "global_asm" | "naked_asm" if next == "!" && top != "arch" => {
                    "`asm!` is for arch/"
                }
                "corosensei" if !["sched", "stack"].contains(&top) => {
                    "corosensei is for sched/ and stack/"
                }
                // Debuggers look for one symbol.
                "no_mangle" | "export_name"
                    if top != "monkey" && self.file != "src/sched/debugger.rs" =>
                {
                    "`no_mangle` is for monkey/"
                }
                "thread_local"
                    if next == "!"
                        && self.file != "src/sched/current.rs"
                        // It wraps loom's.
                        && self.file != "src/atomic/modelled.rs"
                        && !tests.contains(&token.line) =>
                {
                    "`thread_local!` is for src/sched/current.rs"
                }
                "extern" if next == "{" && !calls_libc => {
                    "foreign functions are declared in sys/ and monkey/"
                }
                "libc" if !calls_libc && next == "::" && self.text(at + 2) == "*" => {
                    "libc's names are imported one by one outside of sys/ and monkey/"
                }
                "libc" if !calls_libc && next == "as" => "libc is called libc",
                name if !calls_libc && next == "(" && self.is_libc_call(at, name, &names) => {
                    "the C library is called in sys/ and monkey/"
                }
                _ => continue,
            };
            violations.push(self.violation(token.line, rule));
        }
        violations
    }

    /// Whether the name before a parenthesis is a function of libc: its functions are lowercase.
    fn is_libc_call(&self, at: usize, name: &str, names: &BTreeSet<String>) -> bool {
        if !name.starts_with(|c: char| c == '_' || c.is_lowercase()) {
            return false;
        }
        match self.previous(at) {
            "::" => self.text(at.saturating_sub(2)) == "libc",
            "." | "fn" => false,
            _ => names.contains(name),
        }
    }

    /// What `use libc::...` brings into the file.
    fn libc_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (at, token) in self.tokens.iter().enumerate() {
            if token.text == "use" && self.text(at + 1) == "libc" {
                let mut references = Vec::new();
                self.read_path(at + 1, Vec::new(), &mut references);
                names.extend(references.into_iter().map(|reference| reference.name));
            }
        }
        names
    }

    /// Names that lib.rs re-exports, with the modules that own them.
    fn exports(&self) -> Vec<(String, String)> {
        let mut exports = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            if token.text != "use" {
                continue;
            }
            let mut references = Vec::new();
            self.read_path(at + 1, Vec::new(), &mut references);
            for Reference {
                mut segments, name, ..
            } in references
            {
                segments.retain(|segment| segment != "crate" && segment != "self");
                if let Some(owner) = segments.into_iter().next() {
                    exports.push((name, owner));
                }
            }
        }
        exports
    }

    /// All paths into the own crate, in `use` and elsewhere.
    fn references(&self) -> Vec<Reference> {
        let mut references = Vec::new();
        // Inline modules that are open, with the depth of their braces.
        let mut inline: Vec<(String, usize)> = Vec::new();
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate() {
            match token.text.as_str() {
                "{" => {
                    depth += 1;
                    if at >= 2 && self.text(at - 2) == "mod" {
                        inline.push((self.text(at - 1).to_owned(), depth));
                    }
                }
                "}" => {
                    inline.pop_if(|(_, opened)| *opened == depth);
                    depth = depth.saturating_sub(1);
                }
                "crate" | "self" | "super" | "$crate"
                    if self.text(at + 1) == "::" && self.previous(at) != "::" =>
                {
                    let module = self
                        .module
                        .iter()
                        .chain(inline.iter().map(|(name, _)| name));
                    let module: Vec<String> = module.cloned().collect();
                    let mut found = Vec::new();
                    self.read_path(at, Vec::new(), &mut found);
                    references.extend(found.into_iter().map(|reference| Reference {
                        segments: absolute(&module, &reference.segments),
                        ..reference
                    }));
                }
                _ => {}
            }
        }
        references
    }

    /// Reads a path or a tree of paths. Answers where it ends.
    fn read_path(
        &self,
        mut at: usize,
        mut segments: Vec<String>,
        found: &mut Vec<Reference>,
    ) -> usize {
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        if self.text(at) == "{" {
            at += 1;
            while !["}", ""].contains(&self.text(at)) {
                at = self.read_path(at, segments.clone(), found);
                if self.text(at) == "," {
                    at += 1;
                } else if self.text(at) != "}" {
                    break;
                }
            }
            return at + 1;
        }
        segments.push(self.text(at).to_owned());
        at += 1;
        if self.text(at) == "::" && self.text(at + 1) != "<" {
            return self.read_path(at + 1, segments, found);
        }
        let mut name = self.text(at - 1).to_owned();
        if self.text(at) == "as" {
            name = self.text(at + 1).to_owned();
            at += 2;
        }
        found.push(Reference {
            segments,
            name,
            line,
        });
        at
    }

    /// The lines of test modules.
    fn test_lines(&self) -> BTreeSet<usize> {
        if self.file.ends_with("/tests.rs") || self.file.contains("/tests/") {
            return self.tokens.iter().map(|token| token.line).collect();
        }
        let mut lines = BTreeSet::new();
        let start = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
        for at in 0..self.tokens.len() {
            if start
                .iter()
                .enumerate()
                .all(|(n, text)| self.text(at + n) == *text)
            {
                let mut depth = 0;
                for token in &self.tokens[at + start.len()..] {
                    lines.insert(token.line);
                    match token.text.as_str() {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        ";" if depth == 0 => break,
                        _ => continue,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
        lines
    }
}

/// The module path of a file: `src/net/tcp.rs` is `net::tcp`, `arch/mod.rs` is `arch`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap_or(file);
    let path = path.trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod");
    if path == "lib" {
        return Vec::new();
    }
    path.split('/').map(String::from).collect()
}

/// Resolves `crate`, `self` and `super`.
fn absolute(module: &[String], segments: &[String]) -> Vec<String> {
    let mut path = module.to_vec();
    for segment in segments {
        match segment.as_str() {
            "crate" | "$crate" => path.clear(),
            "self" => {}
            "super" => drop(path.pop()),
            name => path.push(name.to_owned()),
        }
    }
    path
}

#[derive(Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Cuts a source into names, `::`, and single characters. Comments and literals are left out.
fn tokenize(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match skipped(&chars, at) {
            Some(end) => end,
            None => {
                let end = token_end(&chars, at);
                let text = chars[at..end].iter().collect();
                tokens.push(Token { text, line });
                end
            }
        };
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn token_end(chars: &[char], at: usize) -> usize {
    let name_end = |from: usize| {
        let rest = chars[from..].iter();
        from + rest.take_while(|c| is_name(**c)).count()
    };
    match chars[at] {
        ':' if chars.get(at + 1) == Some(&':') => at + 2,
        // A raw identifier is not told from a plain one; `$crate` is one token.
        '$' => name_end(at + 1),
        c if is_name(c) => name_end(at),
        _ => at + 1,
    }
}

/// The end of the white space, comment or literal that begins here.
fn skipped(chars: &[char], at: usize) -> Option<usize> {
    let rest = &chars[at..];
    match *rest {
        [c, ..] if c.is_whitespace() => Some(at + 1),
        ['/', '/', ..] => Some(at + rest.iter().take_while(|c| **c != '\n').count()),
        ['/', '*', ..] => Some(at + comment_length(rest)),
        ['"', ..] => Some(at + 1 + string_length(&rest[1..], '"')),
        // A character, but not a lifetime.
        ['\'', '\\', ..] => Some(at + 1 + string_length(&rest[1..], '\'')),
        ['\'', _, '\'', ..] => Some(at + 3),
        ['\'', ..] => Some(at + 1),
        [c, ..] if is_name(c) => prefixed_literal(chars, at),
        _ => None,
    }
}

/// Comments nest.
fn comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length up to and with the closing quote.
fn string_length(rest: &[char], quote: char) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `b"..."`, `c"..."`, `b'.'`, `r"..."`, `r#"..."#`, `br#"..."#` and the like.
fn prefixed_literal(chars: &[char], at: usize) -> Option<usize> {
    if at > 0 && is_name(chars[at - 1]) {
        return None;
    }
    let rest = &chars[at..];
    let prefix = rest
        .iter()
        .take_while(|c| matches!(c, 'b' | 'c' | 'r'))
        .count();
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let start = prefix + hashes;
    if prefix == 0 || prefix > 2 {
        return None;
    }
    if prefix == 1 && rest.starts_with(&['b', '\'']) {
        return Some(at + 2 + string_length(&rest[2..], '\''));
    }
    if rest.get(start) != Some(&'"') {
        return None;
    }
    if rest[prefix - 1] != 'r' {
        return (hashes == 0).then(|| at + start + 1 + string_length(&rest[start + 1..], '"'));
    }
    // A raw string ends at the quote with as many hashes.
    let end: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
    let length = rest[start + 1..]
        .windows(end.len())
        .position(|window| window == end)
        .map_or(rest.len(), |place| start + 1 + place + end.len());
    Some(at + length)
}

/// The checker's own tests.
mod checker {
    use super::{Source, check, tokenize};

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files
            .iter()
            .map(|(file, text)| Source {
                file: (*file).to_owned(),
                text: (*text).to_owned(),
            })
            .collect()
    }

    #[track_caller]
    fn accepts(file: &str, text: &str) {
        let violations = check(&sources(&[(file, text)]));
        assert!(violations.is_empty(), "{violations:?}");
    }

    /// The rule is broken in the last line, and nowhere else.
    #[track_caller]
    fn refuses(file: &str, text: &str, rule: &str) {
        let violations = check(&sources(&[(file, text)]));
        assert_eq!(violations.len(), 1, "{violations:?}");
        let found = &violations[0];
        assert_eq!(
            (found.file.as_str(), found.line),
            (file, text.lines().count())
        );
        assert!(found.rule.contains(rule), "{found}");
    }

    #[test]
    fn imports_go_downwards_or_stay_in_their_folder() {
        accepts(
            "src/sched/park.rs",
            "use crate::{reactor::Reactor, sys, waker::Waker};",
        );
        accepts(
            "src/sched/park.rs",
            "use crate::sched::cell::Cell; use super::queue;",
        );
        accepts(
            "src/source/mod.rs",
            "fn f() { crate::sched::park(); self::binding::f() }",
        );
        accepts(
            "src/monkey/net.rs",
            "use crate::net::TcpStream; use crate::source::Source;",
        );
    }

    #[test]
    fn an_import_upwards_is_refused() {
        refuses(
            "src/sys/poll.rs",
            "use std::io;\n\nuse crate::waker::Waker;",
            "`waker` (layer 2)",
        );
        refuses(
            "src/reactor/mod.rs",
            "use crate::sched::park;",
            "`reactor` (layer 3) imports",
        );
        refuses(
            "src/timer/wheel.rs",
            "fn f() {\n crate::sched::wake(); }",
            "imports `sched`",
        );
        refuses(
            "src/stack/pool.rs",
            "use crate::{\n sys,\n net::{TcpStream}, };",
            "`net`",
        );
        refuses(
            "src/lock.rs",
            "const A: u8 = 1;\nmacro_rules! m { () => { $crate::io::f() } }",
            "`io`",
        );
        refuses(
            "src/net/tcp.rs",
            "use crate::monkey::real;",
            "`monkey` (layer 7)",
        );
    }

    #[test]
    fn a_detour_by_super_is_seen() {
        refuses("src/waker.rs", "use super::sched::Cell;", "imports `sched`");
        refuses(
            "src/timer/wheel.rs",
            "use super::super::{sched};",
            "imports `sched`",
        );
        refuses(
            "src/timer/wheel.rs",
            "mod tests {\n use super::super::super::io::Source; }",
            "imports `io`",
        );
        accepts(
            "src/timer/wheel.rs",
            "mod tests { use super::super::nodes; } use super::nodes;",
        );
        accepts(
            "src/timer/wheel.rs",
            "mod tests { fn f() {} } fn f() { self::io::f() }",
        );
    }

    #[test]
    fn a_name_at_the_root_belongs_to_the_module_that_lib_re_exports_it_from() {
        let lib = "pub use error::{BuildError, ThreadLocalsError as Named}; pub use run::Runtime;";
        let with_lib = |file, text| check(&sources(&[("src/lib.rs", lib), (file, text)])).len();
        assert_eq!(
            with_lib("src/sched/hub.rs", "use crate::{BuildError, Named};"),
            0
        );
        assert_eq!(with_lib("src/sched/hub.rs", "use crate::Runtime;"), 1);
        assert_eq!(with_lib("src/sched/hub.rs", "use crate::Unheard;"), 1);
        assert_eq!(with_lib("src/sched/hub.rs", "use crate::*;"), 1);
        assert_eq!(with_lib("src/builder.rs", "use crate::{Runtime, run};"), 0);
    }

    #[test]
    fn the_public_layer_and_the_vocabulary_may_import_themselves_but_not_in_circles() {
        let line = [
            ("src/net/tcp.rs", "use crate::time::Deadline;"),
            ("src/time.rs", ""),
        ];
        assert_eq!(check(&sources(&line)), []);
        let circle = [
            ("src/a.rs", "use crate::sys;\nuse crate::b::B;"),
            ("src/b/mod.rs", "use crate::c::C;"),
            ("src/c.rs", "fn f() { crate::a::f() }"),
            ("src/d.rs", "use crate::a;"),
        ];
        let files: Vec<(String, usize)> = check(&sources(&circle))
            .into_iter()
            .map(|violation| (violation.file, violation.line))
            .collect();
        let expected = [("src/a.rs", 2), ("src/b/mod.rs", 1), ("src/c.rs", 1)];
        assert_eq!(files, expected.map(|(file, line)| (file.to_owned(), line)));
        let circle = [
            ("src/waker.rs", "use crate::reason;"),
            ("src/reason.rs", "use crate::waker;"),
        ];
        assert_eq!(check(&sources(&circle)).len(), 2);
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        accepts(
            "src/sys/a.rs",
            "// use crate::sched;\n/* crate::io::f() /* asm!() */ corosensei */",
        );
        accepts(
            "src/sys/a.rs",
            "/// See [`crate::Runtime`].\nfn f() { \"crate::io::f() \\\" asm!\" }",
        );
        accepts(
            "src/sys/a.rs",
            "const A: &str = r##\"crate::io::f \"# asm!( \"##; // asm!(",
        );
        accepts(
            "src/sys/a.rs",
            "const A: &[u8] = b\"asm!(\"; const B: &CStr = c\"asm!(\";",
        );
        accepts(
            "src/sys/a.rs",
            "const A: u8 = b'\"'; const B: char = '\\''; const C: char = '\"';",
        );
        // What follows a literal is code again.
        refuses(
            "src/lock.rs",
            "const A: u8 = b'\"'; fn f() { asm!() }",
            "`asm!`",
        );
        refuses(
            "src/lock.rs",
            "const A: char = '\\''; fn f<'a>() { asm!() }",
            "`asm!`",
        );
        refuses(
            "src/lock.rs",
            "const A: &str = r#\"\"\"#;\nfn f() { asm!() }",
            "`asm!`",
        );
        refuses(
            "src/lock.rs",
            "/* /* */\n\n*/ fn f() { asm!(\"nop\") }",
            "`asm!`",
        );
    }

    #[test]
    fn assembly_is_for_arch() {
        accepts("arch/x86_64.rs", "fn f() { asm!(\"nop\") }");
        refuses(
            "src/tls/mod.rs",
            "fn f() { core::arch::asm!(\"nop\") }",
            "`asm!` is for arch/",
        );
        refuses(
            "src/sys/mod.rs",
            "global_asm!(\"nop\");",
            "`asm!` is for arch/",
        );
    }

    #[test]
    fn the_c_library_is_called_in_sys_and_monkey() {
        let call = "fn f() { unsafe { libc::close(1) } }";
        accepts("src/sys/fd.rs", call);
        accepts("src/monkey/real.rs", call);
        refuses("src/stack/arena.rs", call, "the C library");
        refuses(
            "arch/x86_64.rs",
            "fn f() { ::libc::getauxval(1) }",
            "the C library",
        );
        refuses(
            "src/source/a.rs",
            "use libc::{c_int, close as end};\nfn f() { end(1) }",
            "the C library",
        );
        refuses("src/source/a.rs", "use libc::*;", "one by one");
        refuses("src/source/a.rs", "use libc as c;", "is called libc");
        refuses(
            "src/tls/a.rs",
            "unsafe extern \"C\" { fn close(fd: i32); }",
            "foreign functions",
        );
        // Types, constants, and functions that only have the same name.
        accepts(
            "src/source/a.rs",
            "fn f(a: libc::c_int) { g(libc::EAGAIN, a as libc::size_t) }",
        );
        accepts(
            "src/source/a.rs",
            "use libc::c_int; fn f() { sys::close(1); a.close(); close() }",
        );
        accepts(
            "src/source/a.rs",
            "extern \"C\" fn handler(signal: libc::c_int) {}",
        );
    }

    #[test]
    fn corosensei_is_for_sched_and_stack() {
        accepts("src/sched/cell.rs", "use corosensei::Coroutine;");
        accepts("src/stack/mod.rs", "use corosensei::stack::Stack;");
        refuses(
            "src/tls/mod.rs",
            "use corosensei::Coroutine;",
            "corosensei is for",
        );
    }

    #[test]
    fn exported_names_are_for_monkey() {
        accepts(
            "src/monkey/net.rs",
            "#[unsafe(no_mangle)] extern \"C\" fn recv() {}",
        );
        accepts("src/sched/debugger.rs", "#[unsafe(no_mangle)]");
        refuses(
            "src/net/tcp.rs",
            "#[unsafe(no_mangle)]",
            "`no_mangle` is for",
        );
        refuses(
            "src/net/tcp.rs",
            "#[unsafe(export_name = \"recv\")]",
            "`no_mangle` is for",
        );
    }

    #[test]
    fn thread_locals_are_for_current_and_for_tests() {
        let local = "thread_local! { static A: u8 = 1; }";
        accepts("src/sched/current.rs", local);
        accepts("src/tls/tests.rs", local);
        accepts(
            "src/tls/mod.rs",
            &format!("#[cfg(test)]\nmod tests {{\n{local}\n}}"),
        );
        refuses("src/sched/hub.rs", local, "`thread_local!` is for");
        refuses(
            "src/tls/mod.rs",
            &format!("#[cfg(test)]\nmod tests;\n{local}"),
            "`thread_local!`",
        );
        let after = format!("#[cfg(test)]\nmod tests {{ fn f() {{ {{}} }} }}\n{local}");
        refuses("src/tls/mod.rs", &after, "`thread_local!`");
    }

    #[test]
    fn a_violation_is_shown_with_file_and_line() {
        let violations = check(&sources(&[(
            "src/lock.rs",
            "\n\nuse crate::source::Source;",
        )]));
        let expected = "src/lock.rs:3: `lock` (layer 2) imports `source` (layer 5)";
        assert_eq!(violations[0].to_string(), expected);
    }

    #[test]
    fn tokens_carry_their_lines_and_lifetimes_are_no_literals() {
        let tokens = tokenize("fn f<'a>(\n  x: &'a str,\n) -> char { 'x' } // end\nr#type::b");
        let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        let expected = "fn f < a > ( x : & a str , ) - > char { } r # type :: b";
        assert_eq!(texts.join(" "), expected);
        assert_eq!(tokens.last().map(|token| token.line), Some(4));
    }

    #[test]
    fn an_import_between_siblings_is_refused() {
        refuses(
            "src/timer/wheel.rs",
            "use crate::stack::Stack;",
            "imports `stack` (layer 3)",
        );
        refuses(
            "src/source/binding.rs",
            "use crate::blocking::offload;",
            "imports `blocking`",
        );
    }
}
