//! What was put away: whoever writes to it, or drops it once more.

use super::*;

const LAST: [&str; 2] = ["items1.csv", "items2.csv"];

/// Two files were taken and lie in `done/`; `items2.csv` names P-1, too, and came later.
fn two_put_away(world: &mut World) {
    for (name, rows) in LAST.iter().zip(["P-1,old\nP-2,two\n", "P-1,new\nP-2,two\n"]) {
        world.put(name, rows);
        world.rest();
    }
    assert_eq!(world.shown(), ["P-1=old", "P-2=two", "P-1=new"]);
    assert_eq!(world.files_in("done"), LAST);
}

#[test]
fn who_opens_an_old_file_in_done_brings_nothing_old_back() {
    for restarts in [false, true] {
        for content in [World::delta, World::full] {
            let mut world = content("done");
            two_put_away(&mut world);
            // Newer than anything, as after `touch`, a restored backup, or a spreadsheet that saves what it shows.
            for name in ["done/items1.csv", "done/items2.csv", "done/items1.csv"] {
                if restarts {
                    world.crash();
                }
                world.touch(name);
                world.rest();
                assert_eq!(world.shown(), [""; 0], "{name}: the same bytes");
                assert_eq!((world.files_in("done"), world.files_in("taking").len()), (LAST.map(str::to_owned).to_vec(), 0));
            }
        }
    }
}

#[test]
fn what_is_written_into_done_counts_for_a_day_and_only_as_the_last_word() {
    for restarts in [false, true] {
        let mut world = World::delta("done");
        two_put_away(&mut world);
        let restart = |world: &mut World| {
            if restarts {
                world.crash();
            }
        };
        restart(&mut world);
        world.append("done/items1.csv", "P-3,three\n");
        world.rest();
        assert_eq!(world.shown(), ["WRITTEN_LATE"], "it would bring P-1=old back");
        assert_eq!(world.files_in("done"), LAST);
        restart(&mut world);
        world.rest();
        assert_eq!(world.shown(), [""; 0], "told once");
        world.append("done/items2.csv", "P-3,three\n");
        world.rest();
        assert_eq!(world.shown(), ["P-3=three"]);
        world.put("items1.csv", "P-4,four\n");
        world.rest();
        assert_eq!(world.shown(), ["P-4=four closes"], "dropped once more under its name");

        world.put("items3.csv", "P-5,five\n");
        world.rest();
        assert_eq!(world.shown(), ["P-5=five"]);
        world.wait(GONE);
        if restarts {
            world.crash();
            world.age("items/!taken:items3.csv", GONE);
        }
        world.turn();
        world.append("done/items3.csv", "P-6,six\n");
        world.rest();
        assert_eq!(world.shown(), [""; 0], "weeks later it is not news");
    }
}

#[test]
fn of_full_lists_the_older_one_has_no_word_and_lacks_none() {
    let mut world = World::full("done");
    for rows in ["P-1,old\nP-2,two\n", "P-1,new\nP-2,two\n"] {
        world.put("items.csv", rows);
        world.rest();
    }
    world.shown();
    world.append("done/items.csv", "P-3,three\n");
    world.rest();
    assert_eq!(world.shown(), [""; 0]);
    assert_eq!((world.files_in("done").len(), world.files_in("taking").len()), (2, 0));
}
