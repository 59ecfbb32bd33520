//! Stress tests of the team: every task exactly once, whatever the number of threads, of callers and of
//! tasks, after panics and from within tasks.

use std::sync::atomic::AtomicU32;

use super::*;

fn team(threads: usize) -> Team {
    Team::new(NonZeroUsize::new(threads).unwrap()).unwrap()
}

/// How often each of `tasks` tasks was called in one run.
fn calls(team: &Team, tasks: usize) -> Vec<u32> {
    let counts: Vec<AtomicU32> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
    team.run(tasks, &|i| {
        counts[i].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicU32::into_inner).collect()
}

#[test]
fn every_task_runs_exactly_once() {
    for threads in [1, 2, 3, 8] {
        let team = team(threads);
        assert_eq!(team.threads(), threads);
        for round in 0..2000 {
            let tasks = round % 41;
            assert_eq!(
                calls(&team, tasks),
                vec![1; tasks],
                "{threads} threads, {tasks} tasks"
            );
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn bound_workers_have_a_core_each_and_the_caller_keeps_its_own() {
    let cores = affinity::allowed().unwrap();
    let team = Team::bound(NonZeroUsize::new(cores.len()).unwrap()).unwrap();
    let caller = std::thread::current().id();
    // Each task waits until all have begun, so that every thread takes one of them.
    let begun = AtomicUsize::new(0);
    let seen = Mutex::new(Vec::new());
    team.run(cores.len(), &|_| {
        begun.fetch_add(1, Ordering::SeqCst);
        while begun.load(Ordering::SeqCst) < cores.len() {
            std::thread::yield_now();
        }
        if std::thread::current().id() != caller {
            seen.lock().unwrap().extend(affinity::allowed().unwrap());
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, cores[1..]);
    assert_eq!(affinity::allowed().unwrap(), cores);
    let error = Team::bound(NonZeroUsize::new(cores.len() + 1).unwrap()).unwrap_err();
    assert!(error.to_string().contains("cannot be bound"), "{error}");
}

/// Pauses longer than the workers' patience, so that each run has to wake them; tasks longer than the
/// caller's, so that it has to be woken.
#[test]
fn sleepers_wake() {
    let team = team(3);
    for _ in 0..20 {
        std::thread::sleep(4 * PATIENCE);
        let sum = AtomicUsize::new(0);
        team.run(3, &|i| {
            std::thread::sleep(PATIENCE * (1 + 4 * i as u32));
            sum.fetch_add(i + 1, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 6);
    }
}

#[test]
fn several_threads_work_at_once() {
    let team = team(2);
    // Each task waits until the other has begun, which ends only if both run at the same time.
    let begun = AtomicUsize::new(0);
    let deadline = Instant::now() + Duration::from_secs(20);
    team.run(2, &|_| {
        begun.fetch_add(1, Ordering::SeqCst);
        while begun.load(Ordering::SeqCst) < 2 && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2, "the second task never began");
    });
}

#[test]
fn a_task_may_use_the_team() {
    let team = team(4);
    let sum = AtomicUsize::new(0);
    for _ in 0..200 {
        team.run(5, &|i| {
            let mut inner = [0; 7];
            team.chunks_mut(&mut inner, 2, |j, chunk| chunk.fill(i + j));
            sum.fetch_add(inner.iter().sum(), Ordering::Relaxed);
        });
    }
    // Each inner array holds 7 i + (2 * (0 + 1 + 2) + 3).
    assert_eq!(sum.into_inner(), 200 * (7 * 10 + 5 * 9));
}

#[test]
fn several_callers_share_a_team() {
    let team = team(3);
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let team = &team;
            scope.spawn(move || {
                for round in 0..1500 {
                    let tasks = (caller * 7 + round) % 23;
                    assert_eq!(calls(team, tasks), vec![1; tasks]);
                }
            });
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_leaves_the_team_whole() {
    let team = team(4);
    for round in 0..100 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            team.run(20, &|i| {
                if i % 5 == round % 5 {
                    // Not `panic!`, whose message would fill the log of the tests.
                    resume_unwind(Box::new(format!("task {}", i % 5)));
                }
            });
        }));
        let payload = outcome.unwrap_err();
        assert_eq!(
            payload.downcast_ref::<String>().unwrap(),
            &format!("task {}", round % 5)
        );
        assert_eq!(calls(&team, 9), vec![1; 9]);
    }
}

#[test]
fn chunks_cover_each_slice_once() {
    for threads in [1, 4] {
        let team = team(threads);
        for len in [0, 1, 2, 7, 64, 65] {
            for chunk_len in [1, 2, 5, 64, 1000, usize::MAX] {
                let mut out = vec![(0, 0); len];
                team.chunks_mut(&mut out, chunk_len, |i, chunk| {
                    let len = chunk.len();
                    chunk.iter_mut().for_each(|x| *x = (x.0 + i + 1, len));
                });
                let want =
                    (0..len).map(|j| (j / chunk_len + 1, chunk_len.min(len - j / chunk_len * chunk_len)));
                assert_eq!(
                    out,
                    want.collect::<Vec<_>>(),
                    "length {len} in chunks of {chunk_len}"
                );
            }
        }
    }
}

#[test]
fn chunks_of_several_slices_go_together() {
    let team = team(3);
    let (mut rows, mut sums, mut firsts) = (vec![0u64; 5 * 4], vec![0u64; 5], vec![0u8; 5]);
    team.chunks_mut3(
        (&mut rows, 4),
        (&mut sums, 1),
        (&mut firsts, 1),
        |i, row, sum, first| {
            row.iter_mut().zip(0..).for_each(|(x, j)| *x = 10 * i as u64 + j);
            sum[0] = row.iter().sum();
            first[0] = row[0] as u8;
        },
    );
    assert_eq!(sums, [6, 46, 86, 126, 166]);
    assert_eq!(firsts, [0, 10, 20, 30, 40]);
    // Rows of no elements: the other slice still gets its calls.
    team.chunks_mut2(&mut [] as &mut [f32], 0, &mut sums, 2, |i, row, sums| {
        assert!(row.is_empty());
        sums.fill(i as u64);
    });
    assert_eq!(sums, [0, 0, 1, 1, 2]);
}

#[test]
#[should_panic(expected = "a slice of 3 elements cannot be cut into chunks of length 0")]
fn chunks_of_nothing_are_refused() {
    Team::serial().chunks_mut(&mut [1, 2, 3], 0, |_, _| ());
}

#[test]
fn a_team_has_its_limits() {
    let error = Team::new(NonZeroUsize::MAX).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(
        error.to_string().starts_with("a team has at most 32768 threads"),
        "{error}"
    );
}

#[test]
fn teams_come_and_go() {
    for i in 0..200 {
        let team = team(1 + i % 5);
        if i % 3 == 0 {
            assert_eq!(calls(&team, 11), vec![1; 11]);
        }
    }
}
