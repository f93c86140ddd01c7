// Runs the checks of stream transports and puts what they found together.
#include <ouro/testing/check_stream_transport.hpp>

#include <algorithm>

#include <ouro/runtime/spawn.hpp>

#include "conformance/stream_check.hpp"
#include "loop_state.hpp"

namespace ouro::testing {

using detail::bench;
using detail::kind;
using detail::stream_check;

namespace {

// Some checks wait for more than one thing.
constexpr int waits_in_a_check = 6;

/// Is the exception handler of the loop for as long as it lives.
class report_taker {
  public:
    explicit report_taker(loop& home)
        : home_(home), before_(std::exchange(home.state().handler, {})) {
        home.set_exception_handler([this](loop& on, const failure_report& report) {
            if (to) return to->reports.push_back(report);
            before_ ? (*before_)(on, report) : on.default_exception_handler(report);
        });
    }
    report_taker(const report_taker&) = delete;
    report_taker& operator=(const report_taker&) = delete;
    ~report_taker() { home_.state().handler = std::move(before_); }

    bench* to = nullptr;

  private:
    loop& home_;
    std::shared_ptr<function<void(loop&, const failure_report&)>> before_;
};

/// Why a check cannot be made on this transport; empty when it can.
std::string reason_to_skip(unsigned needs, const conformance_options& options) {
    if ((needs & detail::needs_write_eof) && !options.write_eof) return "it has no write_eof";
    if ((needs & detail::needs_no_write_eof) && options.write_eof) return "it has write_eof";
    if ((needs & detail::needs_buffered) && !options.buffered_protocols)
        return "it serves no buffered protocols";
    if ((needs & detail::needs_leases) && !options.lease_protocols)
        return "it serves no lease protocols";
    if ((needs & detail::needs_limits) && !options.write_limits)
        return "its write limits cannot be set";
    if ((needs & detail::needs_pressure) && !options.back_pressure)
        return "its write queue does not grow";
    return {};
}

/// Runs `part` of a check with an alarm clock. What ends it is a finding, unless it has noted one
/// itself.
task<> run_part(bench& on, task<> part) {
    const std::size_t before = on.found->size();
    auto running = spawn(std::move(part));
    bool late = false;
    auto alarm = loop::current().call_later(waits_in_a_check * on.options.patience, [&] {
        late = true;
        running.cancel(cancel_cause::timeout);
    });
    error why;
    try {
        if (auto ended = co_await as_result(running.join()); !ended) why = ended.error();
    } catch (...) {
        why = error::from_exception(std::current_exception());
    }
    alarm.cancel();
    if (why == errc::cancelled && !late) co_await result<>(std::move(why));
    if (why && on.found->size() == before) {
        on.expect(false, "the check comes to its end", why.message() + "; " + on.stories());
    }
}

task<> run_check(bench& on, const stream_check& check) {
    co_await run_part(on, check.body(on));
    co_await run_part(on, on.take_down());
}

/// The kinds of protocol that `check` is made with.
std::vector<kind> kinds_for(const stream_check& check, const conformance_options& options) {
    if (check.needs & detail::needs_leases) return {kind::leasing};
    if (check.needs & detail::needs_buffered) return {kind::buffered};
    std::vector<kind> all{kind::streaming};
    if (check.needs & detail::runs_once) return all;
    if (options.buffered_protocols) all.push_back(kind::buffered);
    if (options.lease_protocols) all.push_back(kind::leasing);
    return all;
}

std::string count_of(std::size_t count, const char* noun) {
    return std::to_string(count) + " " + noun;
}

}  // namespace

bool conformance_report::passed() const noexcept {
    return std::ranges::any_of(checks, &conformance_check::passed) &&
           std::ranges::none_of(checks, &conformance_check::failed);
}

std::string conformance_report::describe() const {
    const auto count = [this](auto what) {
        return static_cast<std::size_t>(std::ranges::count_if(checks, what));
    };
    const auto skipped = [](const conformance_check& each) {
        return !each.failed() && !each.skipped.empty();
    };
    std::string text = count_of(count(&conformance_check::passed), "passed, ") +
                       count_of(count(&conformance_check::failed), "failed, ") +
                       count_of(count(skipped), "skipped\n");
    for (const conformance_check& each : checks) {
        const std::string title = each.name + " (rules " + each.rules + ")";
        if (skipped(each)) text += "skipped: " + title + ": " + each.skipped + "\n";
        if (each.failed()) text += "FAILED: " + title + "\n";
        for (const conformance_finding& found : each.findings) {
            text += "  expected: " + found.expected + "\n  happened: " + found.happened + "\n";
        }
    }
    return text;
}

task<conformance_report> check_stream_transport(transport_maker make, conformance_options options) {
    report_taker taker(loop::current());
    conformance_report report;
    // Findings of what comes late count too, so they are collected at the end.
    std::vector<std::shared_ptr<detail::findings>> all_findings;
    for (const auto table :
         {detail::life_checks(), detail::protocol_checks(), detail::reading_checks(),
          detail::lease_checks(), detail::writing_checks(), detail::pausing_checks(),
          detail::ending_checks()}) {
        for (const stream_check& check : table) {
            if (check.name.find(options.only) == std::string::npos) continue;
            for (const kind of : kinds_for(check, options)) {
                bench on(make, options, of);
                all_findings.push_back(on.found);
                report.checks.push_back({.name = check.name,
                                         .rules = check.rules,
                                         .skipped = reason_to_skip(check.needs, options),
                                         .findings = {}});
                if (of == kind::buffered) report.checks.back().name += ", buffered";
                if (of == kind::leasing) report.checks.back().name += ", leases";
                if (!report.checks.back().skipped.empty()) continue;
                taker.to = &on;
                co_await run_check(on, check);
                taker.to = nullptr;
                report.checks.back().skipped = std::move(on.skipped);
            }
        }
    }
    for (std::size_t i = 0; i < report.checks.size(); ++i) {
        report.checks[i].findings = std::move(*all_findings[i]);
    }
    co_return report;
}

}  // namespace ouro::testing
