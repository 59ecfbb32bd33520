//! Rules of the house that the compiler does not check: which stage may know what, how long a file may be, and that every
//! `unsafe` block says why it is sound.

use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut found);
    found
}

/// The code before the tests of a file, without comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Names of the operations: the variants of `Op`, and the rows of the pointwise table.
fn operation_names() -> Vec<String> {
    let table =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("macros/src/ops.rs")).unwrap();
    let list = table
        .split("ops! {")
        .nth(1)
        .expect("the table is there")
        .split("\n}")
        .next()
        .unwrap();
    let lines = list.lines().filter(|line| line.contains("::"));
    let names = lines.flat_map(|line| {
        let variants = line.split("::").nth(1).unwrap_or_default().trim_end_matches(',');
        variants
            .split('+')
            .map(|name| name.trim().to_owned())
            .collect::<Vec<_>>()
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn differentiation_knows_no_operation_by_name() {
    let names = operation_names();
    assert!(names.len() > 10, "the table was not read: {names:?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("macros/src/grad.rs");
    let grad = code(&std::fs::read_to_string(path).unwrap());
    for name in names.iter().filter(|name| *name != "Leaf") {
        assert!(
            !grad.contains(&format!("Op::{name}")),
            "grad.rs matches on Op::{name}"
        );
    }
    assert!(!grad.contains("Op::"), "grad.rs matches on operations");
}

#[test]
fn stages_do_not_import_each_other() {
    const STAGES: [&str; 9] = [
        "parse", "lower", "grad", "simplify", "hoist", "fuse", "memory", "emit", "compile",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("macros/src");
    for (path, text) in sources("macros/src") {
        let inside = path.strip_prefix(&root).unwrap();
        let first = inside.iter().next().unwrap().to_string_lossy();
        let own = first.trim_end_matches(".rs").to_owned();
        let is_test = path.to_string_lossy().contains("test") || own == "oracle";
        if own == "compile" || is_test || !STAGES.contains(&own.as_str()) {
            continue;
        }
        for stage in STAGES.iter().filter(|stage| **stage != own) {
            let import = format!("use crate::{stage}");
            assert!(
                !code(&text).contains(&import),
                "{} imports the stage `{stage}`",
                inside.display()
            );
        }
    }
}

#[test]
fn operations_have_a_kernel_file_where_they_call_one() {
    // A family in the table whose name is not that of a kernel file must be one that runs no kernel of its own.
    const WITHOUT: [&str; 9] = [
        "leaf",
        "scan",
        "fill",
        "pointwise",
        "view",
        "einsum",
        "loss",
        "compose",
        "view_surface",
    ];
    let kernels: Vec<String> = sources("runtime/src/ops")
        .iter()
        .map(|(path, _)| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let table =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("macros/src/ops.rs")).unwrap();
    let list = table.split("ops! {").nth(1).unwrap().split("\n}").next().unwrap();
    for line in list.lines().filter(|line| line.contains("::")) {
        let module = line.trim().split("::").next().unwrap();
        assert!(
            WITHOUT.contains(&module) || kernels.iter().any(|kernel| kernel == module),
            "the family `{module}` has no file in runtime/src/ops"
        );
    }
}

#[test]
fn files_are_short() {
    for (path, text) in sources("macros/src")
        .into_iter()
        .chain(sources("runtime/src"))
        .chain(sources("src"))
    {
        let n_lines = text.lines().count();
        assert!(n_lines <= 600, "{} has {n_lines} lines", path.display());
    }
}

#[test]
fn unsafe_blocks_state_their_contract() {
    for (path, text) in sources("runtime/src") {
        let lines: Vec<&str> = text.lines().collect();
        for (k, line) in lines.iter().enumerate() {
            let starts = line.contains("unsafe {") || line.contains("unsafe impl");
            if starts && !line.trim_start().starts_with("//") {
                let above = &lines[k.saturating_sub(8)..=k];
                assert!(
                    above.iter().any(|l| l.contains("SAFETY")),
                    "{}:{}",
                    path.display(),
                    k + 1
                );
            }
        }
    }
    let tests = |path: &Path| path.to_string_lossy().contains("test");
    for (path, text) in sources("macros/src").into_iter().filter(|(path, _)| !tests(path)) {
        assert!(
            !code(&text).contains("unsafe {"),
            "{} has unsafe code",
            path.display()
        );
    }
}
