//! Storage, and buffers of one kernel.

use super::*;

fn buf(offset: usize, len: usize) -> Buf {
    Buf {
        place: Place::Arena,
        offset,
        len,
        width: 4,
    }
}

#[test]
fn storage_of_any_size_is_aligned_and_zero() {
    for bytes in (0..200).chain([4096, 100_000, 1 << 20]) {
        let mut storage = Storage::zeroed(bytes);
        let all = storage.as_mut_slice::<u8>();
        assert_eq!((all.len(), all.as_ptr().addr() % ALIGN), (bytes, 0));
        assert!(all.iter().all(|x| *x == 0));
        all.fill(1);
    }
    assert!(Storage::try_zeroed(usize::MAX).is_none() && Storage::try_zeroed(isize::MAX as usize).is_none());
}

fn with_memory(f: impl FnOnce(&mut Memory<'_>)) {
    let mut storage = Storage::zeroed(256);
    f(&mut Memory {
        arena: storage.region_mut(),
        locals: Region::empty(),
        params: Region::empty(),
        grads: Region::empty(),
        direction: Region::empty(),
        states: Region::empty(),
        new_states: Region::empty(),
        inputs: &[],
    });
}

#[test]
fn disjoint_buffers_are_read_and_written_together() {
    with_memory(|memory| {
        memory.bind().write::<f32>(buf(0, 4)).fill(2.0);
        let mut bind = memory.bind();
        let (x, again, y) = (
            bind.read::<f32>(buf(0, 4)),
            bind.read::<f32>(buf(0, 4)),
            bind.write::<f32>(buf(64, 4)),
        );
        y.copy_from_slice(x);
        assert_eq!(again, y);
    });
}

#[test]
fn slices_of_a_kernel_are_lent_together() {
    with_memory(|memory| {
        let ([], [x]) = memory.lend::<f32, 0, 1>([], [buf(0, 4)]);
        x.fill(2.0);
        let ([x, again], [y, z]) = memory.lend::<f32, 2, 2>([buf(0, 4), buf(8, 2)], [buf(64, 2), buf(16, 4)]);
        y.copy_from_slice(again);
        z.copy_from_slice(x);
        assert_eq!((&*y, &*z), (again, x));
        let inside = memory.lend::<f32, 1, 1>([buf(4, 0)], [buf(0, 4)]);
        assert!(inside.0[0].is_empty(), "an empty buffer overlaps nothing");
    });
}

/// Whether a kernel that reads and writes these is refused.
fn is_refused(reads: [Buf; 1], writes: [Buf; 2]) -> bool {
    let refused = std::panic::catch_unwind(|| {
        with_memory(|memory| {
            memory.lend::<f32, 1, 2>(reads, writes);
        });
    });
    refused.is_err()
}

#[test]
fn what_is_lent_is_checked() {
    let [a, b, c] = [buf(0, 4), buf(16, 4), buf(32, 4)];
    assert!(!is_refused([a], [b, c]));
    assert!(is_refused([buf(20, 1)], [b, c]), "a written buffer is read");
    assert!(is_refused([a], [b, buf(28, 2)]), "two written buffers overlap");
    assert!(is_refused([buf(192, 17)], [b, c]), "a buffer leaves its place");
    assert!(
        is_refused([a], [b, buf(260, 0)]),
        "a buffer begins behind its place"
    );
    assert!(
        is_refused([a], [b, buf(usize::MAX, usize::MAX)]),
        "an end beyond all addresses"
    );
    assert!(is_refused([a], [b, buf(34, 1)]), "a buffer is not aligned");
    let narrow = Buf { width: 1, ..b };
    assert!(is_refused([narrow], [c, a]), "elements of another width");
    let params = Buf {
        place: Place::Param,
        ..buf(0, 0)
    };
    assert!(is_refused([a], [b, params]), "a place is read only");
}

#[test]
#[should_panic(expected = "overlap")]
fn a_written_buffer_overlaps_nothing() {
    with_memory(|memory| {
        let mut bind = memory.bind();
        let _x = bind.read::<f32>(buf(0, 4));
        let _y = bind.write::<f32>(buf(12, 4));
    });
}

#[test]
#[should_panic(expected = "leaves its place")]
fn a_buffer_stays_inside_its_place() {
    with_memory(|memory| {
        memory.bind().read::<f32>(buf(192, 17));
    });
}

#[test]
#[should_panic(expected = "may not be written")]
fn parameters_are_read_only() {
    with_memory(|memory| {
        memory.bind().write::<f32>(Buf {
            place: Place::Param,
            ..buf(0, 0)
        });
    });
}

#[test]
#[should_panic(expected = "another element width")]
fn the_width_of_elements_is_checked() {
    with_memory(|memory| {
        memory.bind().read::<f64>(buf(0, 1));
    });
}

#[test]
fn an_empty_buffer_overlaps_nothing() {
    with_memory(|memory| {
        let mut bind = memory.bind();
        let _x = bind.write::<f32>(buf(0, 8));
        assert!(bind.read::<f32>(buf(0, 0)).is_empty());
    });
}

#[test]
fn elements_of_arrays_are_those_in_standard_layout() {
    use ndarray::{Array0, Array1, Array2, Array3, s};

    fn check<D: Dimension>(array: &ndarray::ArrayView<'_, f32, D>) -> usize {
        let (got, want) = (elements(array), array.as_slice());
        assert_eq!(
            got,
            want,
            "shape {:?}, strides {:?}",
            array.shape(),
            array.strides()
        );
        usize::from(want.is_some())
    }
    let line = Array1::from_iter((0..7).map(|k| k as f32));
    let lines = [
        s![..],
        s![..;2],
        s![..;-1],
        s![3..4],
        s![3..4;-1],
        s![5..],
        s![4..4],
    ];
    let dense = lines.map(|of| check(&line.slice(of)));
    assert_eq!(dense, [1, 0, 0, 1, 1, 1, 1]);

    let cube = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (20 * i + 5 * j + k) as f32);
    let mut n_dense = 0;
    let ranges = |n: usize| (0..=n).flat_map(move |from| (from..=n).map(move |to| from..to));
    for (rows, cols) in ranges(4).flat_map(|rows| ranges(5).map(move |cols| (rows.clone(), cols))) {
        for steps in [[1, 1], [2, 1], [1, 2], [-1, 1], [1, -1]] {
            let [down, across] = steps;
            let page = cube.slice(s![1, rows.clone();down, cols.clone();across]);
            n_dense += check(&page);
            n_dense += check(&page.t());
            n_dense += check(&page.to_owned().view());
        }
    }
    assert!(n_dense > 100, "{n_dense} of the arrays lie in standard layout");
    assert_eq!(check(&cube.view()) + check(&cube.slice(s![1..2, .., ..])), 2);
    assert_eq!(check(&cube.view().permuted_axes([2, 0, 1])), 0);
    assert_eq!(check(&Array0::from_elem((), 1.0).view()), 1);
    let row = Array2::from_shape_vec((1, 4), vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!(check(&row.broadcast((3, 4)).unwrap()), 0);
    assert_eq!(check(&row.t().broadcast((4, 3)).unwrap()), 0);
}

/// Slots on the stack are bound as those of the workspace are.
#[test]
fn a_slice_is_a_place_that_may_be_written() {
    let mut room = [0.0_f32; 4];
    let region = Region::of_slice_mut(&mut room);
    assert_eq!((region.bytes, region.access), (16, Access::Write));
    region.extent().check::<f32>(8, 2);
    assert!(
        std::panic::catch_unwind(|| Region::of_slice_mut(&mut [0.0_f32; 4])
            .extent()
            .check::<f32>(8, 3))
        .is_err()
    );
}
