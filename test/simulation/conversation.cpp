// The accounts of a conversation.
#include "conversation.hpp"

#include <algorithm>
#include <cstring>

#include <ouro/testing/simulation.hpp>

namespace ouro::simulated {
namespace {

std::uint64_t scrambled(std::uint64_t number) noexcept {
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
    number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
    return number ^ (number >> 31);
}

plan draw_plan(std::uint64_t most_bytes, bool strict) {
    plan drawn;
    // Mostly little, sometimes a lot.
    drawn.total_bytes = once_in(3) ? draw(0, most_bytes) : draw(0, most_bytes / 8 + 1);
    const std::uint64_t chunks[] = {3, 100, 2'000, 20'000, most_bytes};
    drawn.most_chunk = std::max<std::uint64_t>(chunks[draw(0, 4)], drawn.total_bytes / 40 + 1);
    drawn.how = once_in(3) ? ending::patient : ending::polite;
    if (!strict && once_in(4)) drawn.how = once_in(2) ? ending::closes : ending::aborts;
    drawn.leaves_after = draw(0, drawn.total_bytes + 100);
    drawn.rests = once_in(3);
    drawn.pauses = once_in(3);
    return drawn;
}

}  // namespace

void wrong(std::string what) {
    loop::current().call_exception_handler(
        {.message = std::move(what), .error = {}, .subject = "scenario", .created = {}});
}

std::uint64_t draw(std::uint64_t least, std::uint64_t most) {
    return testing::simulation::current().draw(least, most);
}
bool once_in(std::uint64_t count) { return draw(1, count) == 1; }
std::chrono::microseconds draw_time(std::uint64_t least_us, std::uint64_t most_us) {
    return std::chrono::microseconds(draw(least_us, most_us));
}

const char* to_string(side of) noexcept { return of == side::client ? "client" : "server"; }

conversation::conversation(std::uint64_t number, std::uint64_t most_bytes, bool strict)
    : number_(number), strict_(strict) {
    for (plan& each : plans_) each = draw_plan(most_bytes, strict);
    plans_[0].total_bytes += opening_bytes;
    // Two that wait for each other's end would wait for ever.
    if (plans_[0].how == ending::patient) plans_[1].how = ending::polite;
}

void conversation::fill(side sender, std::uint64_t offset, mut_bytes into) const noexcept {
    const std::uint64_t key = scrambled(number_ * 2 + static_cast<std::uint64_t>(sender));
    const auto word_at = [&](std::uint64_t place) {
        return sender == side::client && place == 0 ? number_ : scrambled(key + place);
    };
    while (!into.empty()) {
        const std::uint64_t word = word_at(offset / 8);
        const std::size_t skip = offset % 8;
        const std::size_t count = std::min(8 - skip, into.size());
        std::memcpy(into.data(), reinterpret_cast<const char*>(&word) + skip, count);
        into = into.subspan(count);
        offset += count;
    }
}

void conversation::take(side sender, bytes data) {
    half& from = of(sender);
    std::vector<std::byte> expected(data.size());
    fill(sender, from.received, expected);
    if (!std::equal(data.begin(), data.end(), expected.begin())) {
        const auto at = std::mismatch(data.begin(), data.end(), expected.begin()).first;
        wrong(name(sender) + "a wrong byte at " +
              std::to_string(from.received + static_cast<std::uint64_t>(at - data.begin())));
    }
    from.received += data.size();
    if (from.received > from.written) {
        wrong(name(sender) + std::to_string(from.received) + " bytes arrived of " +
              std::to_string(from.written) + " that were sent");
    }
}

std::string conversation::take_end(side sender) const {
    const half& from = halves_[static_cast<int>(sender)];
    if (from.broken || !from.present) return {};
    if (!from.ended) return name(sender) + "the end of stream arrived before it was said";
    if (from.received == from.written) return {};
    return name(sender) + "the stream ended too early";
}

void conversation::take_error(side who, const error& why) {
    of(who).broken = true;
    if (strict_) {
        wrong(name(who) + "in a healthy world it met: " + why.message());
    } else if (!may_end_a_connection(why)) {
        wrong(name(who) + "nothing in this world explains: " + why.message());
    }
}

void conversation::finish() {
    if (++ends_done_ != 2 || !strict_) return;
    for (const side each : {side::client, side::server}) {
        const std::uint64_t total = plan_of(each).total_bytes;
        if (of(each).written == total && of(each).received == total) continue;
        wrong(name(each) + "in a healthy world only " + std::to_string(of(each).received) + " of " +
              std::to_string(total) + " bytes arrived");
    }
}

std::string conversation::name(side sender) const {
    return "conversation " + std::to_string(number_ & 0xffff) + ", what the " +
           simulated::to_string(sender) + " says (" + describe() + "): ";
}

std::string conversation::describe() const {
    constexpr const char* endings[] = {"polite", "patient", "closes", "aborts"};
    std::string text;
    for (const side each : {side::client, side::server}) {
        const half& half = halves_[static_cast<int>(each)];
        text += std::string(text.empty() ? "" : "; ") +
                endings[static_cast<int>(plan_of(each).how)] + " " + simulated::to_string(each) +
                " wrote " + std::to_string(half.written) + " of " +
                std::to_string(plan_of(each).total_bytes) + ", " + std::to_string(half.received) +
                " arrived" + (half.ended ? ", ended" : "") + (half.broken ? ", broken" : "") +
                (half.present ? "" : ", absent");
    }
    return text;
}

bool may_end_a_connection(const error& why) {
    for (const auto known : {std::errc::connection_reset, std::errc::broken_pipe,
                             std::errc::timed_out, std::errc::not_connected}) {
        if (why == known) return true;
    }
    return false;
}

bool may_prevent_a_connection(const error& why) {
    if (why == errc::several_failures) {
        return !why.causes().empty() &&
               std::all_of(why.causes().begin(), why.causes().end(), &may_prevent_a_connection);
    }
    for (const auto known : {std::errc::connection_refused, std::errc::timed_out,
                             std::errc::connection_reset, std::errc::too_many_files_open,
                             std::errc::no_such_file_or_directory, std::errc::address_in_use}) {
        if (why == known) return true;
    }
    return why == errc::no_address;
}

}  // namespace ouro::simulated
