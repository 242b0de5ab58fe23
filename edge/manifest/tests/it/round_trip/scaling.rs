//! How many replicas run: fields of `spec.scale`, of any form.

use std::num::NonZeroU32;

use model::resource::{
    AmountRange, AutoScale, BurstPolicy, ClockTime, CompositePolicy, Cooldown, Count, Cron, Evaluation,
    EventEffect, EventStart, Factor, Flaps, ForecastMode, Forecasting, Formula, FormulaPolicy, FormulaTarget,
    Fraction, KnownEvent, LatencySlo, LearnedPrice, Percent, PriceSensitivity, Quantile, Quantity, Remove,
    Scale, ScaleMode, ScalePolicy, ScaleStep, Schedule, Shadow, Sizes, Slo, Span, StepChange, StepPolicy,
    ToZero, TrackingPolicy, Vertical, VerticalMode, WatermarkPolicy, Zone,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::{behavior, metric, quantity, service_name, span, text};

fn policy() -> BoxedStrategy<ScalePolicy> {
    prop_oneof![
        select(vec![ScalePolicy::Hpa, ScalePolicy::Unanimous]),
        step_policy().prop_map(ScalePolicy::Step),
        (of(text()), quantity(), quantity(), span(), span()).prop_map(
            |(metric, high, low, out_after, in_after)| {
                ScalePolicy::Watermarks(WatermarkPolicy { metric, high, low, out_after, in_after })
            }
        ),
        (of(span()), span(), span()).prop_map(|(warmup, out_after, in_after)| {
            ScalePolicy::TargetTracking(TrackingPolicy { warmup, out_after, in_after })
        }),
        (of(text()), span(), span(), any::<u32>()).prop_map(
            |(metric, stable_window, panic_window, panic_threshold_percent)| {
                ScalePolicy::Burst(BurstPolicy {
                    metric,
                    stable_window,
                    panic_window,
                    panic_threshold_percent,
                })
            }
        ),
        formula_policy().prop_map(ScalePolicy::Formula),
        btree_map(text(), quantity(), 0..3)
            .prop_map(|weights| ScalePolicy::Composite(CompositePolicy { weights })),
        slo().prop_map(ScalePolicy::Slo),
    ]
    .boxed()
}

fn slo() -> BoxedStrategy<Slo> {
    let share = || (1..1_000_000_u32).prop_map(Fraction::from_millionths);
    (share(), span(), share(), of(quantity()), of(learned()))
        .prop_map(|(quantile, below, objective, capacity, learned)| Slo {
            latency: LatencySlo { quantile, below },
            objective,
            capacity,
            learned,
        })
        .boxed()
}

fn learned() -> BoxedStrategy<LearnedPrice> {
    let factor = || (0..1_000_000_u32).prop_map(|milli| Factor::try_from(f64::from(milli) / 1000.0).unwrap());
    let leaning = || {
        (factor(), factor(), factor()).prop_map(|(factor, from, to)| PriceSensitivity { factor, from, to })
    };
    (any::<u32>(), factor(), factor(), leaning(), leaning(), leaning())
        .prop_map(|(version, rises, forecast, level, trend, unrest)| LearnedPrice {
            version,
            rises,
            forecast,
            level,
            trend,
            unrest,
        })
        .boxed()
}

fn formula_policy() -> BoxedStrategy<FormulaPolicy> {
    let name = "[a-zé\"' {}#:-]{1,9}".prop_map(|name: String| format!("{name:?}"));
    let number = prop_oneof![
        name.prop_map(|name| format!("metric({name})")),
        "q[a-z_]{0,9}",
        any::<u32>().prop_map(|number| number.to_string()),
    ];
    let expression = (number.clone(), select(vec![" + ", "\n  / ", " if 1 < 2 else ", "*"]), number);
    let expression =
        expression.prop_map(|(a, between, b)| Formula::parse(&format!("{a}{between}{b}")).unwrap());
    let metric_type = select(vec![FormulaTarget::Value, FormulaTarget::AverageValue]);
    (expression, of(quantity()), metric_type)
        .prop_map(|(expression, target, metric_type)| FormulaPolicy { expression, target, metric_type })
        .boxed()
}

fn step_policy() -> BoxedStrategy<StepPolicy> {
    let change = prop_oneof![
        (1..=1_000_000_u32).prop_map(StepChange::Replicas),
        (1..=10_000_u32, 1..=1_000_000_u32)
            .prop_map(|(percent, at_least)| StepChange::Percent { percent: Percent(percent), at_least }),
        (0..=1_000_000_u32).prop_map(StepChange::Exactly),
    ];
    let threshold = || (0..1000_i64).prop_map(|whole| Quantity::from_milli(whole * 250));
    let step = (of(threshold()), of(threshold()), change)
        .prop_filter("out of order", |(from, to, _)| from.is_none() || to.is_none() || from < to)
        .prop_map(|(from, to, change)| ScaleStep { from, to, change });
    let evaluation = (span(), any::<u32>(), of(any::<u32>())).prop_map(|(every, breaches, of)| Evaluation {
        every,
        breaches,
        of,
    });
    let cooldown = (span(), span()).prop_map(|(scale_out, scale_in)| Cooldown { scale_out, scale_in });
    (of(text()), vec(step.clone(), 0..3), vec(step, 0..3), evaluation, cooldown)
        .prop_map(|(metric, above, below, evaluation, cooldown)| StepPolicy {
            metric,
            above,
            below,
            evaluation,
            cooldown,
        })
        .boxed()
}

fn shadow() -> BoxedStrategy<Shadow> {
    let bounds = (of(0..=5_u32), of(5..=1_000_000_u32));
    (service_name(), of(policy()), vec(metric(), 0..2), of(behavior()), bounds)
        .prop_map(|(name, policy, metrics, behavior, (min, max))| Shadow {
            name: name.into(),
            policy,
            metrics,
            behavior,
            min,
            max,
        })
        .boxed()
}

pub(super) fn scale() -> BoxedStrategy<Scale> {
    let auto = (0..=5_u32, 5..=1_000_000_u32, vec(metric(), 0..2), policy(), of(behavior()));
    let to_zero = || of((span(), span()).prop_map(|(after, wait)| ToZero { after, wait }));
    let count = prop_oneof![
        (0..=1_000_000_u32).prop_map(Count::Fixed),
        auto.prop_map(|(min, max, metrics, policy, behavior)| {
            Count::Auto(AutoScale { min, max, metrics, policy, behavior })
        }),
    ];
    let mode = select(vec![ScaleMode::On, ScaleMode::UpOnly, ScaleMode::Shadow, ScaleMode::Off]);
    let remove = prop_oneof![
        select(vec![Remove::HighestNumber, Remove::LeastBusy, Remove::Oldest, Remove::Newest]),
        text().prop_map(|metric| Remove::Cheapest(metric.into())),
    ];
    let flaps =
        of((1..=100_u32, (1..=86_400_u64).prop_map(Span::from_secs))
            .prop_map(|(most, per)| Flaps { most, per }));
    (
        count,
        mode,
        vec(schedule(), 0..3),
        to_zero(),
        of(sizes()),
        remove,
        of(text().prop_map(Into::into)),
        flaps,
        vec(shadow(), 0..2),
        of(vertical()),
        of(forecasting()),
    )
        .prop_map(
            |(count, mode, schedule, to_zero, sizes, remove, protect, flaps, shadows, vertical, forecast)| {
                Scale {
                    count,
                    mode,
                    schedule,
                    to_zero,
                    flaps,
                    remove,
                    protect,
                    shadows,
                    sizes,
                    vertical,
                    forecast,
                }
            },
        )
        .boxed()
}

fn forecasting() -> impl Strategy<Value = Forecasting> {
    let mode = select(vec![ForecastMode::Off, ForecastMode::Shadow, ForecastMode::On]);
    let quantile = (1..=999_u32).prop_map(|milli| f64::from(milli) / 1000.0);
    let quantile = quantile.prop_map(|of| Quantile::try_from(of).expect("it is a probability"));
    let times = (of(span()), span());
    let parts = (mode, quantile, times, vec(known_event(), 0..3));
    parts.prop_map(|(mode, quantile, (horizon, step), events)| Forecasting {
        mode,
        quantile,
        horizon,
        step,
        events,
    })
}

fn known_event() -> impl Strategy<Value = KnownEvent> {
    let at =
        (2000..2100_u32, 1..=12_u32, 1..=28_u32, 0..86_400_u32).prop_map(|(year, month, day, second)| {
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            let text = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
            EventStart::At(ClockTime::parse(&text).expect("it is a time"))
        });
    let start =
        prop_oneof![at, schedule().prop_map(|schedule| EventStart::Cron(Box::new(schedule.cron().clone())))];
    let factor = (0..=1_000_000_u32).prop_map(|milli| Factor::try_from(f64::from(milli) / 1000.0));
    let effect = prop_oneof![
        factor.prop_map(|factor| EventEffect::Factor(factor.expect("it is one"))),
        quantity().prop_map(EventEffect::Load),
    ];
    (service_name(), start, schedule(), effect).prop_map(|(name, start, schedule, effect)| KnownEvent {
        name: name.into(),
        start,
        timezone: schedule.timezone().clone(),
        duration: schedule.duration,
        effect,
    })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let size = || 1..=1_000_000_u32;
    prop_oneof![
        Just(Sizes::Odd),
        Just(Sizes::PowersOfTwo),
        size().prop_map(|step| Sizes::MultiplesOf(NonZeroU32::new(step).expect("at least 1"))),
        btree_set(size(), 1..5).prop_map(|sizes| Sizes::OneOf(sizes.into_iter().collect())),
    ]
}

fn vertical() -> impl Strategy<Value = Vertical> {
    let range = || (of(quantity()), of(quantity())).prop_map(|(min, max)| AmountRange { min, max });
    let mode =
        select(vec![VerticalMode::Off, VerticalMode::Recommend, VerticalMode::Initial, VerticalMode::Auto]);
    (mode, range(), range()).prop_map(|(mode, cpu, memory)| Vertical { mode, cpu, memory })
}

fn schedule() -> BoxedStrategy<Schedule> {
    let cron = proptest::sample::select(vec![
        "0 8 * * 1-5",
        "*/5 * * * *",
        "@daily",
        "0 0 29 2 *",
        "30 2 * MAR SUN",
    ]);
    let cron = cron.prop_map(|text| Cron::parse(text).expect("it is a crontab time"));
    let zone = proptest::sample::select(vec!["UTC", "Asia/Shanghai", "Europe/Berlin", "America/St_Johns"]);
    let zone = zone.prop_map(|name| Zone::parse(name).expect("it is a time zone"));
    let duration = (60_000..=86_400_000_u64).prop_map(Span::from_millis);
    (cron, zone, duration, of(0..=5_u32), 5..=1_000_000_u32)
        .prop_map(|(cron, timezone, duration, min, max)| {
            let mut schedule = Schedule::new(cron, timezone, duration);
            (schedule.min, schedule.max) = (min, Some(max));
            schedule
        })
        .boxed()
}
