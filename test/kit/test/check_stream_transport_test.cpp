// The conformance suite on the transports of the library, and on broken ones: each flaw must be
// found by the check that is named for it.
#include <ouro/testing/check_stream_transport.hpp>

#include <boost/test/unit_test.hpp>

#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/spawn.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using testing::check_stream_transport;
using testing::conformance_options;
using testing::conformance_report;
using testing::transport_maker;
using testing::transport_pair;

/// What a transport between the protocol and a working one spoils.
enum class flaw {
    none,
    loses_last_byte,
    drops_at_close,
    lost_twice,
    data_after_lost,
    ignores_pause,
    reverses_pieces,
    forgets_eof,
    delivers_inside_resume,
    lost_inside_close,
    hides_exceptions,
    reports_twice,
    pauses_twice,
    never_resumes,
    hides_queue,
    keeps_memory,
    writes_after_eof,
    close_with_error,
    made_again,
    abort_flushes,
    closes_at_eof,
    takes_any_limits,
    touches_memory,
    overcounts,
    never_lost,
    lacks_half_close,
    reuses_leased_memory,
    doubles_leases,
    loses_data_at_switch,
    stages_leases,
    joins_over_gaps,
    hoards_leases,
};

/// Forwards to a working transport, but for its flaw.
class flawed_transport final : public transport,
                               public std::enable_shared_from_this<flawed_transport> {
  public:
    explicit flawed_transport(flaw of) : of_(of) {}

    /// What stands in for `receiver` on the working transport.
    std::shared_ptr<base_protocol> relay_to(std::shared_ptr<base_protocol> receiver);

    // What the relays tell.
    bool has(flaw which) const noexcept { return of_ == which; }
    std::shared_ptr<transport> wrapping(std::shared_ptr<transport> inner) {
        inner_ = std::move(inner);
        return shared_from_this();
    }
    void data(protocol& to, bytes received) {
        if (loses_this()) return;
        if (has(flaw::loses_last_byte)) {
            held_ += as_text(received);
            const std::string all_but_one = held_.substr(0, held_.size() - 1);
            held_.erase(0, all_but_one.size());
            if (!all_but_one.empty()) to.data_received(as_bytes(all_but_one));
            return;
        }
        if (has(flaw::delivers_inside_resume) && holding_) {
            held_ += as_text(received);
            return;
        }
        if (!has(flaw::hides_exceptions) && !has(flaw::reports_twice))
            return to.data_received(received);
        try {
            to.data_received(received);
        } catch (...) {
            if (has(flaw::hides_exceptions)) return;
            loop::current().call_exception_handler({.message = "once more"});
            throw;
        }
    }
    void leased(lease_protocol& to, buffer_lease received) {
        if (loses_this()) return;
        if (has(flaw::doubles_leases)) to.data_received(received.share());
        if (!has(flaw::reuses_leased_memory)) return to.data_received(std::move(received));
        // The same memory again and again, whoever may still look at it.
        if (block_.empty()) block_ = buffer_lease::copy_of(std::vector<std::byte>(256 * 1024));
        std::memcpy(const_cast<std::byte*>(block_.data()), received.data(), received.size());
        auto part = block_.share();
        part.truncate(received.size());
        to.data_received(std::move(part));
    }
    /// What comes first to a new protocol.
    bool loses_this() { return std::exchange(loses_next_, false); }
    bool eof(const std::function<bool()>& tell) {
        if (has(flaw::forgets_eof)) return false;
        const bool keep = tell();
        return keep && !has(flaw::closes_at_eof);
    }
    void lost(base_protocol& to, error why) {
        receiver_.reset();
        if (has(flaw::never_lost) || std::exchange(told_lost_, true)) return;
        if (has(flaw::close_with_error)) why = error(std::errc::io_error, "a flaw");
        to.connection_lost(why);
        if (has(flaw::lost_twice)) to.connection_lost(why);
        if (auto* streaming = dynamic_cast<protocol*>(&to); streaming && has(flaw::data_after_lost))
            streaming->data_received(as_bytes("too late"));
    }
    void pause(base_protocol& to) {
        to.pause_writing();
        if (has(flaw::pauses_twice)) to.pause_writing();
    }
    void resume(base_protocol& to) {
        if (!has(flaw::never_resumes)) to.resume_writing();
    }

    // A transport.
    void close() override {
        if (has(flaw::drops_at_close)) return inner_->abort();
        inner_->close();
        // Memory of a buffered protocol is still the kernel's here, and sanitizers know it.
        if (has(flaw::lost_inside_close) && dynamic_cast<protocol*>(receiver_.get()) &&
            !std::exchange(told_lost_, true)) {
            receiver_->connection_lost({});
        }
    }
    bool is_closing() const noexcept override { return inner_->is_closing(); }
    void set_protocol(std::shared_ptr<base_protocol> receiver) override {
        if (!receiver_) return;  // lost
        if (auto* streaming = dynamic_cast<protocol*>(receiver.get());
            streaming && has(flaw::made_again)) {
            streaming->connection_made(shared_from_this());
        }
        loses_next_ = has(flaw::loses_data_at_switch);
        inner_->set_protocol(relay_to(std::move(receiver)));
    }
    std::shared_ptr<base_protocol> get_protocol() const override { return receiver_; }
    std::any extra_info(std::string_view name) const override { return inner_->extra_info(name); }
    bool is_reading() const noexcept override { return inner_->is_reading(); }
    void pause_reading() override {
        if (has(flaw::delivers_inside_resume)) {
            holding_ = true;
        } else if (!has(flaw::ignores_pause)) {
            inner_->pause_reading();
        }
    }
    void resume_reading() override {
        inner_->resume_reading();
        if (!std::exchange(holding_, false) || held_.empty()) return;
        if (auto* streaming = dynamic_cast<protocol*>(receiver_.get())) {
            streaming->data_received(as_bytes(std::exchange(held_, {})));
        }
    }
    using write_transport::write;
    std::error_code write(bytes data) override {
        if (refuses_quietly()) return {};
        if (!has(flaw::keeps_memory)) return inner_->write(data);
        loop::current().call_soon([inner = inner_, data] { inner->write(data); });
        return {};
    }
    std::error_code write(std::vector<std::byte>&& data) override {
        return refuses_quietly() ? std::error_code() : inner_->write(std::move(data));
    }
    std::error_code write(buffer_lease data) override {
        if (refuses_quietly()) return {};
        if (has(flaw::hoards_leases)) hoard_.push_back(data.share());
        if (has(flaw::joins_over_gaps)) return write_joined(std::move(data));
        if (!has(flaw::stages_leases)) return inner_->write(std::move(data));
        // What is written first waits where the next one is put.
        staged_.assign(data.view().begin(), data.view().end());
        loop::current().call_soon([self = shared_from_this(), size = data.size()] {
            self->staged_.resize(size);
            self->inner_->write(self->staged_);
        });
        return {};
    }
    std::error_code writelines(std::span<const bytes> chunks) override {
        if (refuses_quietly()) return {};
        if (!has(flaw::reverses_pieces)) return inner_->writelines(chunks);
        return inner_->writelines(std::vector<bytes>(chunks.rbegin(), chunks.rend()));
    }
    std::error_code write_eof() override {
        if (has(flaw::lacks_half_close)) return make_error_code(errc::unsupported);
        eof_written_ = true;
        return inner_->write_eof();
    }
    bool can_write_eof() const noexcept override { return !has(flaw::lacks_half_close); }
    void abort() override { has(flaw::abort_flushes) ? inner_->close() : inner_->abort(); }
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override {
        const auto refused = inner_->set_write_buffer_limits(high_bytes, low_bytes);
        return has(flaw::takes_any_limits) ? std::error_code() : refused;
    }
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return inner_->get_write_buffer_limits();
    }
    std::size_t get_write_buffer_size() const noexcept override {
        return has(flaw::hides_queue) ? 0 : inner_->get_write_buffer_size();
    }

  private:
    bool refuses_quietly() const noexcept { return eof_written_ && has(flaw::writes_after_eof); }
    /// With what stands between it and the one before it.
    std::error_code write_joined(buffer_lease data) {
        const std::byte* from = data.data();
        const auto gap = reinterpret_cast<std::uintptr_t>(from) -
                         reinterpret_cast<std::uintptr_t>(before_.data() + before_.size());
        if (gap < 8) from -= gap;
        const bytes all(from, data.data() + data.size());
        before_ = std::move(data);
        return inner_->write(all);
    }

    const flaw of_;
    std::shared_ptr<transport> inner_;
    std::shared_ptr<base_protocol> receiver_;
    std::string held_;
    std::vector<std::byte> staged_;
    std::vector<buffer_lease> hoard_;
    buffer_lease block_, before_;
    bool loses_next_ = false;
    bool holding_ = false;
    bool eof_written_ = false;
    bool told_lost_ = false;
};

/// A relay keeps its protocol: the kernel may fill that one's buffer after it was replaced.
template <class Base>
class relay : public Base {
  public:
    relay(std::shared_ptr<flawed_transport> owner, std::shared_ptr<Base> to)
        : owner_(std::move(owner)), to_(std::move(to)) {}
    void connection_made(std::shared_ptr<transport> link) override {
        to_->connection_made(owner_->wrapping(std::move(link)));
    }
    bool eof_received() override {
        return owner_->eof([this] { return to_->eof_received(); });
    }
    void connection_lost(error why) override { owner_->lost(*to_, std::move(why)); }
    void pause_writing() override { owner_->pause(*to_); }
    void resume_writing() override { owner_->resume(*to_); }

  protected:
    std::shared_ptr<flawed_transport> owner_;
    std::shared_ptr<Base> to_;
};

class streaming_relay final : public relay<protocol> {
  public:
    using relay::relay;
    void data_received(bytes received) override { owner_->data(*to_, received); }
};

class buffered_relay final : public relay<buffered_protocol> {
  public:
    using relay::relay;
    mut_bytes get_buffer(std::ptrdiff_t hint) override { return lent_ = to_->get_buffer(hint); }
    void buffer_updated(std::size_t count) override {
        if (owner_->loses_this()) return;
        const mut_bytes before = lent_;
        to_->buffer_updated(owner_->has(flaw::overcounts) ? count + 1 : count);
        if (owner_->has(flaw::touches_memory)) before[0] = std::byte{1};
    }

  private:
    mut_bytes lent_;
};

class leasing_relay final : public relay<lease_protocol> {
  public:
    using relay::relay;
    void data_received(buffer_lease received) override {
        owner_->leased(*to_, std::move(received));
    }
};

std::shared_ptr<base_protocol> flawed_transport::relay_to(std::shared_ptr<base_protocol> receiver) {
    receiver_ = receiver;
    if (auto leasing = std::dynamic_pointer_cast<lease_protocol>(receiver)) {
        return std::make_shared<leasing_relay>(shared_from_this(), std::move(leasing));
    }
    if (auto buffered = std::dynamic_pointer_cast<buffered_protocol>(receiver)) {
        return std::make_shared<buffered_relay>(shared_from_this(), std::move(buffered));
    }
    return std::make_shared<streaming_relay>(shared_from_this(),
                                             std::dynamic_pointer_cast<protocol>(receiver));
}

// ---- pairs

enum class medium { tcp, unix_stream };

/// Two sockets with small kernel buffers, so that little data makes back-pressure.
task<std::pair<socket, socket>> narrow_pair(medium over) {
    constexpr int small_bytes = 64 * 1024;
    auto pair = over == medium::tcp ? co_await tcp_pair() : co_await socket::pair(loop::current());
    for (socket* each : {&pair.first, &pair.second}) {
        co_await each->set_option(SOL_SOCKET, SO_SNDBUF, small_bytes);
        co_await each->set_option(SOL_SOCKET, SO_RCVBUF, small_bytes);
    }
    co_return pair;
}

task<transport_pair> connect_pair(protocol_factory left, protocol_factory right, medium over) {
    auto [one, other] = co_await narrow_pair(over);
    auto near = co_await create_connection(std::move(left), std::move(one));
    auto far = co_await create_connection(std::move(right), std::move(other));
    co_return transport_pair(std::move(near.transport), std::move(far.transport));
}

transport_maker pairs_over(medium over) {
    return [over](protocol_factory left, protocol_factory right) {
        return connect_pair(std::move(left), std::move(right), over);
    };
}

/// The left end has the flaw.
task<transport_pair> connect_flawed(protocol_factory left, protocol_factory right, flaw of) {
    const auto flawed = std::make_shared<flawed_transport>(of);
    protocol_factory wrapped = [to = flawed, left = std::move(left)]() mutable {
        return std::exchange(to, nullptr)->relay_to(left());
    };
    transport_pair ends = co_await connect_pair(std::move(wrapped), std::move(right), medium::tcp);
    ends.first = flawed;
    co_return ends;
}

transport_maker flawed_pairs(flaw of) {
    return [of](protocol_factory left, protocol_factory right) {
        return connect_flawed(std::move(left), std::move(right), of);
    };
}

void expect_passed(const conformance_report& report) {
    BOOST_CHECK_MESSAGE(report.passed(), report.describe());
}

/// A flaw, the check that must find it, and a part of what that must say.
struct flaw_row {
    flaw of;
    const char* check;
    const char* finding;
};

constexpr flaw_row flaws[] = {
    {flaw::loses_last_byte, "the end of stream comes after all data",
     "1048575 bytes, which differ"},
    {flaw::drops_at_close, "close flushes", "receives the 1048592 bytes"},
    {flaw::lost_twice, "close of an idle transport", "connection_lost after: made lost"},
    {flaw::data_after_lost, "nothing happens after connection_lost",
     "a data callback after: made lost"},
    {flaw::ignores_pause, "pause_reading stops data", "no data comes while reading is paused"},
    {flaw::reverses_pieces, "writelines keeps the order of many pieces",
     "49000 bytes, which differ"},
    {flaw::forgets_eof, "the end of stream comes after all data", "left: made data lost"},
    {flaw::delivers_inside_resume, "no callback comes from inside a call",
     "left: a data callback did"},
    {flaw::lost_inside_close, "no callback comes from inside a call", "left: connection_lost did"},
    {flaw::hides_exceptions, "a data callback throws", "connection_lost comes on both ends"},
    {flaw::reports_twice, "a data callback throws", "2; once more"},
    {flaw::pauses_twice, "pause_writing comes strictly above high", "a second pause"},
    {flaw::never_resumes, "resume_writing comes at or below low", "resume_writing comes"},
    {flaw::hides_queue, "the queued size counts every byte", "the write queue grows"},
    {flaw::keeps_memory, "a write copies the memory of its caller", "642970 bytes, which differ"},
    {flaw::writes_after_eof, "a write after write_eof is refused",
     "is refused\n  happened: Success"},
    {flaw::close_with_error, "close of an idle transport", "left is lost without an error"},
    {flaw::made_again, "set_protocol calls nothing", "connection_made comes once, and first"},
    {flaw::abort_flushes, "abort drops what is queued", "bytes are still queued"},
    {flaw::closes_at_eof, "eof_received that answers true keeps the connection",
     "is_reading stays true"},
    {flaw::takes_any_limits, "wrong write limits are refused", "10, 11: Success"},
    {flaw::touches_memory, "a buffer of one byte receives everything", "it was written afterwards"},
    {flaw::overcounts, "a buffer of one byte receives everything", "2 of 1"},
    {flaw::never_lost, "close of an idle transport", "connection_lost comes on both ends"},
};

constexpr flaw_row flaws_with_leases[] = {
    {flaw::reuses_leased_memory, "kept leases do not change", "has changed from offset 0 on"},
    {flaw::reuses_leased_memory, "leases are dropped in any order", "has changed from offset 0 on"},
    {flaw::doubles_leases, "data of any size arrives in order", "bytes, which differ"},
    {flaw::doubles_leases, "leases are echoed from inside their callback", "bytes, which differ"},
    {flaw::doubles_leases, "leases are echoed and kept", "bytes, which differ"},
    {flaw::stages_leases, "written leases keep their bytes until they are sent",
     "bytes, which differ"},
    {flaw::joins_over_gaps, "parts of leases are sent as they are written", "bytes, which differ"},
    {flaw::hoards_leases, "a lost transport lets go of leases", "more than before"},
    {flaw::writes_after_eof, "leases after the end are refused or dropped",
     "is refused\n  happened: Success"},
    {flaw::loses_data_at_switch, "changing between all kinds of protocol loses no byte",
     "the protocols receive all bytes together"},
    {flaw::loses_data_at_switch, "changing between all kinds inside a data callback",
     "the protocols receive all bytes together"},
    {flaw::loses_data_at_switch, "data held for a lease protocol goes to a streaming one",
     "left receives 22000 bytes"},
    {flaw::loses_data_at_switch, "data held for a lease protocol goes to a buffered one",
     "left receives 22000 bytes"},
    {flaw::loses_data_at_switch, "data held for a streaming protocol goes to a lease one",
     "left receives 22000 bytes"},
    {flaw::loses_data_at_switch, "data held for a buffered protocol goes to a lease one",
     "left receives 22000 bytes"},
};

task<> expect_found(std::span<const flaw_row> rows) {
    for (const flaw_row& each : rows) {
        conformance_options options;
        options.only = each.check;
        options.pressure_bytes = 8 * 1024 * 1024;
        options.patience = std::chrono::seconds(60);
        expect_passed(co_await check_stream_transport(flawed_pairs(flaw::none), options));
        // Most are found when patience ends; a machine that is slower than that is given more.
        std::string found;
        for (const int patience_ms : {200, 2000, 20'000}) {
            options.patience = std::chrono::milliseconds(patience_ms);
            const auto report = co_await check_stream_transport(flawed_pairs(each.of), options);
            BOOST_TEST(!report.passed());
            found = report.describe();
            if (found.find(each.finding) != std::string::npos) break;
        }
        BOOST_CHECK_MESSAGE(found.find(each.finding) != std::string::npos,
                            "not a word of `" << each.finding << "` in: " << found);
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conformance_of_stream_transports)

OURO_ASYNC_TEST(tcp_transports_conform) {
    const auto report = co_await check_stream_transport(pairs_over(medium::tcp));
    expect_passed(report);
    BOOST_TEST(report.checks.size() > 100U);
    for (const auto& each : report.checks) {
        const bool about_lack = each.name.starts_with("write_eof is refused where there is none");
        BOOST_CHECK_MESSAGE(each.skipped.empty() != about_lack, each.name << each.skipped);
    }
}

OURO_ASYNC_TEST(unix_transports_conform) {
    const auto report = co_await check_stream_transport(pairs_over(medium::unix_stream));
    expect_passed(report);
}

OURO_ASYNC_TEST(a_transport_that_forwards_to_another_one_conforms) {
    expect_passed(co_await check_stream_transport(flawed_pairs(flaw::none)));
}

OURO_ASYNC_TEST(a_transport_without_half_close_conforms_when_it_says_so) {
    conformance_options options;
    options.write_eof = false;
    options.only = "write_eof";
    const auto report =
        co_await check_stream_transport(flawed_pairs(flaw::lacks_half_close), options);
    expect_passed(report);
    std::size_t skipped = 0;
    for (const auto& each : report.checks) skipped += each.skipped == "it has no write_eof";
    BOOST_TEST(skipped > 5U);
    BOOST_TEST(report.describe().find("skipped: write_eof ends one direction") !=
               std::string::npos);

    options.write_eof = true;
    options.patience = std::chrono::milliseconds(100);
    const auto lying =
        co_await check_stream_transport(flawed_pairs(flaw::lacks_half_close), options);
    BOOST_TEST(!lying.passed());
}

OURO_ASYNC_TEST(each_flaw_is_found_by_the_check_that_is_named_for_it) {
    co_await expect_found(flaws);
}

OURO_ASYNC_TEST(each_flaw_with_leases_is_found_by_the_check_that_is_named_for_it) {
    co_await expect_found(flaws_with_leases);
}

OURO_ASYNC_TEST(nothing_passes_when_no_check_has_that_name) {
    conformance_options options;
    options.only = "no check is called so";
    const auto report = co_await check_stream_transport(pairs_over(medium::tcp), options);
    BOOST_TEST(report.checks.empty());
    BOOST_TEST(!report.passed());
}

OURO_ASYNC_TEST(a_maker_that_fails_is_a_finding_of_every_check) {
    conformance_options options;
    options.only = "close";
    const auto report = co_await check_stream_transport(
        [](protocol_factory, protocol_factory) -> task<transport_pair> {
            co_return error(std::errc::connection_refused, "connect");
        },
        options);
    BOOST_TEST(report.checks.size() > 10U);
    for (const auto& each : report.checks) BOOST_TEST((each.failed() || !each.skipped.empty()));
    BOOST_TEST(report.describe().find("connect") != std::string::npos);
}

OURO_ASYNC_TEST(the_exception_handler_comes_back) {
    conformance_options options;
    options.only = "a data callback throws";
    expect_passed(co_await check_stream_transport(pairs_over(medium::tcp), options));
    BOOST_TEST(take_reports().empty());
    loop::current().call_exception_handler({.message = "mine"});
    BOOST_TEST(take_reports().size() == 1U);
}

task<> hang_in_the_suite() {
    (void)co_await check_stream_transport(
        [](protocol_factory, protocol_factory) -> task<transport_pair> {
            co_await sleep(std::chrono::hours(1));
            co_return transport_pair();
        });
}

OURO_ASYNC_TEST(a_cancelled_suite_ends_and_gives_the_handler_back) {
    auto running = spawn(hang_in_the_suite());
    co_await settle();
    running.cancel();
    const auto outcome = co_await as_result(running.join());
    BOOST_TEST((!outcome && outcome.error() == errc::cancelled));
    loop::current().call_exception_handler({.message = "mine"});
    BOOST_TEST(take_reports().size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
