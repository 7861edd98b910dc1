//! Which step made which file.

use rebuilder::Digest;

use crate::world::World;

#[test]
fn each_file_of_the_traced_directory_names_its_step() {
    let mut world = World::with_steps(&[
        (
            "export",
            "mkdir -p tree/sub; echo a > tree/a; echo b > tree/sub/b; ln -s /etc/passwd tree/l
                    mkfifo tree/pipe; echo c > tree/c",
        ),
        ("merge", "echo a2 > tree/a; rm tree/c; echo n > tree/News"),
        ("nothing", "true"),
    ]);
    world.definition.internal_parameters.traced = "tree".to_string();
    let ran = world.run();
    let trace = &ran.built().trace;
    let steps: Vec<_> =
        trace.files.iter().map(|(path, t)| (path.as_str(), t.step.as_str())).collect();
    let expect = [("News", "merge"), ("a", "merge"), ("l", "export"), ("sub/b", "export")];
    assert_eq!(steps, expect);
    assert_eq!(trace.files["a"].sha256, Digest::of(b"a2\n"));
    assert_eq!(trace.files["l"].sha256, Digest::of(b"/etc/passwd"));
    assert_eq!(trace.removed["c"], "merge");
    assert!(!trace.truncated);
}
