use proptest::prelude::*;

use super::*;

/// A calendar time with its offset, as the loop knows it.
fn wall(text: &str) -> Wall {
    let time: Timestamp = text.parse().expect("it is a time");
    Wall::from_millis(u64::try_from(time.as_millisecond()).expect("it is after 1970"))
}

fn schedule(cron: &str, zone: &str, hours: u64) -> Schedule {
    let cron = Cron::parse(cron).expect("it is a crontab time");
    let zone = Zone::parse(zone).expect("it is a time zone");
    let mut schedule = Schedule::new(cron, zone, Span::from_secs(hours * 3600));
    schedule.min = Some(6);
    schedule
}

#[test]
fn a_schedule_applies_in_its_own_time_zone() {
    let office = schedule("0 8 * * 1-5", "Asia/Shanghai", 10);
    let holds = |text| office.window(wall(text)).is_some();
    assert!(!holds("2026-11-27T07:59:59.999+08:00"));
    assert!(holds("2026-11-27T08:00:00+08:00"), "a Friday");
    assert!(holds("2026-11-27T17:59:59.999+08:00"));
    assert!(!holds("2026-11-27T18:00:00+08:00"));
    assert!(!holds("2026-11-28T12:00:00+08:00"), "a Saturday");
}

#[test]
fn summer_time_shifts_the_beginning_but_not_the_duration() {
    let office = schedule("0 8 * * *", "Europe/Berlin", 10);
    for (begins, ends) in [
        ("2026-03-28T07:00:00Z", "2026-03-28T17:00:00Z"),
        ("2026-03-29T06:00:00Z", "2026-03-29T16:00:00Z"),
        ("2026-10-24T06:00:00Z", "2026-10-24T16:00:00Z"),
        ("2026-10-25T07:00:00Z", "2026-10-25T17:00:00Z"),
    ] {
        let window = office.window(wall(begins)).expect("it begins then");
        assert_eq!(window, Window { from: wall(begins), until: wall(ends) });
        assert_eq!(office.window(wall(ends)), None);
    }
}

#[test]
fn a_skipped_time_occurs_after_the_gap_and_a_repeated_time_occurs_once() {
    let night = schedule("30 2 * * *", "Europe/Berlin", 1);
    let begins = |day: &str, from: &str| {
        assert_eq!(night.window(wall(day)).map(|window| window.from), Some(wall(from)), "at {day}");
    };
    begins("2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z");
    begins("2026-10-25T00:45:00Z", "2026-10-25T00:30:00Z");
    assert_eq!(night.window(wall("2026-10-25T01:45:00Z")), None, "2:45 again, an hour later");
}

#[test]
fn overlapping_windows_end_with_the_last_one() {
    let always = schedule("0 * * * *", "UTC", 2);
    let window = always.window(wall("2026-11-27T10:30:00Z")).expect("it always holds");
    assert_eq!(window.until, wall("2026-11-27T12:00:00Z"));
}

#[test]
fn a_minimum_takes_precedence_over_a_lower_maximum() {
    let usual = Bounds { min: 2, max: 20 };
    let now = wall("2026-11-27T10:30:00Z");
    let always = |min, max| Schedule { min, max, ..schedule("0 * * * *", "UTC", 2) };
    assert_eq!(usual.at(now, &[]), usual);
    assert_eq!(usual.at(now, &[always(Some(6), None)]), Bounds { min: 6, max: 20 });
    assert_eq!(usual.at(now, &[always(None, Some(1))]), Bounds { min: 1, max: 1 });
    assert_eq!(usual.at(now, &[always(Some(40), None)]), Bounds { min: 40, max: 40 });
    assert_eq!(
        usual.at(now, &[always(Some(6), Some(30)), always(Some(4), Some(5))]),
        Bounds { min: 6, max: 6 }
    );
}

#[test]
fn invalid_and_impossible_schedules_and_zones_are_refused() {
    for text in ["", "* * *", "61 * * * *", "0 8 * * 1-5 2027", "0 0 8 * * 1-5", "every morning"] {
        assert!(matches!(Cron::parse(text), Err(CronError::Unreadable { .. })), "{text:?}");
    }
    assert!(matches!(Cron::parse("0 0 30 2 *"), Err(CronError::Never { .. })));
    assert!(Cron::parse("0 0 29 2 *").is_ok(), "in leap years");
    let error = Zone::parse("Europe/Atlantis").expect_err("it has sunk");
    assert!(error.to_string().contains("Europe/Atlantis"), "{error}");
    assert_eq!(Zone::parse("europe/berlin").expect("case does not matter").name(), "Europe/Berlin");
}

proptest! {
    /// A window holds from its beginning on, and what it says of itself is the same wherever in it somebody looks.
    #[test]
    fn every_time_within_a_window_finds_the_same_window(at in 1_600_000_000_000_u64..1_900_000_000_000) {
        let night = schedule("17 3 * * 2,5", "America/New_York", 30);
        if let Some(window) = night.window(Wall::from_millis(at)) {
            prop_assert!(window.from.as_millis() <= at && at < window.until.as_millis());
            prop_assert_eq!(night.window(window.from), Some(window));
            let last = Wall::from_millis(window.until.as_millis() - 1);
            prop_assert_eq!(night.window(last), Some(window));
        }
    }

    /// A window may begin while another lasts.
    #[test]
    fn until_its_next_change_a_schedule_has_one_window_and_then_another(
        at in 1_600_000_000_000_u64..1_900_000_000_000,
        cron in prop::sample::select(vec!["30 2 * * *", "*/7 8-9 * * 1-5", "0 * * * *", "0 0 1 * *", "* * * * *"]),
        hours in 1_u64..30,
    ) {
        let (schedule, at) = (schedule(cron, "Europe/Berlin", hours), Wall::from_millis(at));
        let change = schedule.next_change(at).expect("it goes on");
        prop_assert!(at < change);
        let just_before = Wall::from_millis(change.as_millis() - 1);
        prop_assert_eq!(schedule.window(just_before), schedule.window(at));
        prop_assert_ne!(schedule.window(change), schedule.window(at));
    }

    /// Whatever it was asked before, it answers as one does that was never asked.
    #[test]
    fn earlier_queries_do_not_change_the_result(
        begin in 0_u64..4_000_000_000_000,
        asked in prop::collection::vec(0_u64..200_000, 1..20),
        which in prop::sample::select(vec![
            ("* * * * *", "UTC"),
            ("*/2 * * * *", "Asia/Kolkata"),
            ("30 2 * * *", "Europe/Berlin"),
            ("*/7 1-3 * * *", "America/New_York"),
            ("*/5 * * * *", "Africa/Monrovia"),
        ]),
    ) {
        let new = || schedule(which.0, which.1, 1);
        let often = new();
        for later in asked {
            let at = Wall::from_millis(begin + later);
            prop_assert_eq!(often.last(at), new().last(at), "at {:?}", at);
        }
        prop_assert_eq!(often, new());
    }
}
