//! Room 5 and 6: what is recorded, printed and reported.

use crate::scene;

#[test]
fn a_release_that_comes_out_bit_for_bit_passes() {
    let scene = scene();
    let ran = scene.verify(&[]);
    println!("{}{}", ran.stderr, ran.stdout);
    ran.exits(0);
}
