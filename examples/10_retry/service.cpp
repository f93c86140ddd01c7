// The two sides of the service: remembering what was answered, and asking again.
#include "service.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

// ---- the server's side

std::optional<std::string> ledger::answer(std::string_view line) {
    std::istringstream words{std::string(line)};
    std::string name;
    std::uint64_t number = 0;
    long amount = 0;
    if (!(words >> name >> number >> amount)) return std::nullopt;

    last_request& last = clients_[name];
    // Overtaken by a later request on another connection: nobody waits for it.
    if (number < last.number && !forget_ids) return std::nullopt;
    if (number > last.number || forget_ids) {
        balance_ += amount;
        last = {number, balance_};
    }
    return std::to_string(number) + " " + std::to_string(last.answer) + "\n";
}

static ouro::task<> serve_client(std::shared_ptr<ledger> book, ouro::stream_reader reader,
                                 ouro::stream_writer writer) {
    while (true) {
        // A connection that breaks is no news: the client asks again on another one.
        const auto line = co_await ouro::as_result(reader.readline());
        if (!line || !line->ends_with('\n')) co_return;
        const auto reply = book->answer(*line);
        if (!reply) co_return;
        writer.write(*reply);
        if (!co_await ouro::as_result(writer.drain())) co_return;
    }
}

ouro::task<ouro::server> serve_ledger(std::shared_ptr<ledger> book, ouro::address where) {
    auto serve = [book](ouro::stream_reader reader, ouro::stream_writer writer) {
        return serve_client(book, std::move(reader), std::move(writer));
    };
    return ouro::start_server(std::move(serve), where);
}

// ---- the client's side

client::client(ouro::address server, retry_options how)
    : server_(server), how_(how), name_(std::to_string(ouro::io::random(ouro::loop::current()))) {}

ouro::task<long> client::add(long amount) {
    const std::uint64_t number = ++number_;
    auto longest = how_.first_wait;
    while (true) {
        const auto answer =
            co_await ouro::as_result(within(how_.answer_within, ask(number, amount)));
        if (answer) co_return *answer;
        if (answer.error() == ouro::errc::cancelled) co_return answer.error();
        // Half of the wait is drawn: clients that failed together do not come back together.
        const auto draw = ouro::io::random(ouro::loop::current()) % 1024;
        co_await ouro::sleep(longest / 2 + longest / 2 * static_cast<long>(draw) / 1024);
        longest = std::min(longest * 2, how_.longest_wait);
    }
}

ouro::task<long> client::ask(std::uint64_t number, long amount) {
    ++attempts_;
    if (!stream_) stream_ = co_await ouro::open_connection(server_);
    // A connection is kept once it has answered. On one that still owes an answer, the next request
    // would get that of this one.
    ouro::stream link = *std::exchange(stream_, std::nullopt);
    link.writer.write(name_ + " " + std::to_string(number) + " " + std::to_string(amount) + "\n");

    std::istringstream words{std::string(co_await link.reader.readline())};
    std::uint64_t answered = 0;
    long balance = 0;
    if (!(words >> answered >> balance) || words.get() != '\n' || answered != number) {
        co_return ouro::error(std::errc::protocol_error, "read an answer");
    }
    stream_ = std::move(link);
    co_return balance;
}
