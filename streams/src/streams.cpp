// Readers, writers, and how they come to a connection.
#include <unistd.h>

#include <limits>

#include <ouro/streams/open_connection.hpp>
#include <ouro/streams/pipe.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/writer.hpp>

#include "stream_core.hpp"

namespace ouro {

using detail::read_request;

// ---- reader

stream_reader::stream_reader(std::size_t limit_bytes)
    : core_(std::make_shared<detail::stream_core>(limit_bytes)) {}
stream_reader::stream_reader(std::shared_ptr<detail::stream_core> core) noexcept
    : core_(std::move(core)) {}
stream_reader& stream_reader::operator=(stream_reader&& other) noexcept {
    std::swap(core_, other.core_);
    return *this;
}
stream_reader::~stream_reader() {
    if (core_) core_->reader_gone();
}
detail::stream_core& stream_reader::live() const noexcept {
    OURO_ASSERT(core_, "a moved-from stream_reader was used");
    return *core_;
}

detail::read_wait<bytes> stream_reader::read_some() noexcept {
    return {live(), {.count = std::numeric_limits<std::size_t>::max()}};
}
detail::read_wait<bytes> stream_reader::read(std::ptrdiff_t most) noexcept {
    if (most < 0) return {live(), {.what = read_request::kind::all}};
    return {live(), {.count = static_cast<std::size_t>(most)}};
}
detail::read_wait<bytes> stream_reader::readexactly(std::size_t count) noexcept {
    return {live(), {.what = read_request::kind::exactly, .count = count}};
}
detail::read_wait<std::string_view> stream_reader::readuntil(std::string_view separator) {
    return {live(), {.what = read_request::kind::until, .text = {.separator = separator}}};
}
detail::read_wait<std::string_view>
stream_reader::readuntil(std::initializer_list<std::string_view> separators) {
    return {live(),
            {.what = read_request::kind::until_any,
             .text = {.separators = {separators.begin(), separators.size()}}}};
}
detail::read_wait<std::string_view> stream_reader::readline() {
    return {live(), {.what = read_request::kind::until, .line = true, .text = {.separator = "\n"}}};
}
bool stream_reader::at_eof() const noexcept { return live().at_eof(); }
void stream_reader::feed_data(bytes data) { live().feed(data); }
void stream_reader::feed_eof() noexcept { live().feed_eof(); }
void stream_reader::set_exception(error why) noexcept { live().set_failure(std::move(why)); }
error stream_reader::exception() const noexcept { return live().failure(); }

// ---- writer

stream_writer::stream_writer(std::shared_ptr<detail::stream_core> core) noexcept
    : core_(std::move(core)) {}
stream_writer& stream_writer::operator=(stream_writer&& other) noexcept {
    std::swap(core_, other.core_);
    return *this;
}
stream_writer::~stream_writer() {
    if (core_) core_->writer_gone();
}
detail::stream_core& stream_writer::live() const noexcept {
    OURO_ASSERT(core_ && core_->link(), "a moved-from stream_writer was used");
    return *core_;
}
transport& stream_writer::link() const noexcept { return *live().link(); }

std::error_code stream_writer::write(bytes data) { return link().write(data); }
std::error_code stream_writer::write(std::vector<std::byte>&& data) {
    return link().write(std::move(data));
}
std::error_code stream_writer::writelines(std::span<const bytes> chunks) {
    return link().writelines(chunks);
}
std::error_code stream_writer::write_eof() { return link().write_eof(); }
bool stream_writer::can_write_eof() const noexcept { return link().can_write_eof(); }
detail::drain_wait stream_writer::drain() noexcept { return detail::drain_wait(live()); }
void stream_writer::close() noexcept { link().close(); }
bool stream_writer::is_closing() const noexcept { return link().is_closing(); }
detail::closed_wait stream_writer::wait_closed() noexcept { return detail::closed_wait(live()); }

// ---- opening

namespace {

auto core_factory(std::shared_ptr<detail::stream_core> core) {
    return [core = std::move(core)] { return core; };
}

stream halves(std::shared_ptr<detail::stream_core> core) {
    return {stream_reader(core), stream_writer(core)};
}

}  // namespace

task<stream> open_connection(std::string host, std::uint16_t port, stream_options options) {
    auto core = std::make_shared<detail::stream_core>(options.limit_bytes);
    co_await create_connection(core_factory(core), std::move(host), port,
                               std::move(options.connect));
    co_return halves(std::move(core));
}
task<stream> open_connection(std::vector<std::string> hosts, std::uint16_t port,
                             stream_options options) {
    auto core = std::make_shared<detail::stream_core>(options.limit_bytes);
    co_await create_connection(core_factory(core), std::move(hosts), port,
                               std::move(options.connect));
    co_return halves(std::move(core));
}
task<stream> open_connection(address peer, stream_options options) {
    auto core = std::make_shared<detail::stream_core>(options.limit_bytes);
    co_await create_connection(core_factory(core), std::move(peer), std::move(options.connect));
    co_return halves(std::move(core));
}
task<stream> open_connection(socket connected, stream_options options) {
    auto core = std::make_shared<detail::stream_core>(options.limit_bytes);
    co_await create_connection(core_factory(core), std::move(connected));
    co_return halves(std::move(core));
}
task<stream> open_unix_connection(std::string path, stream_unix_options options) {
    auto core = std::make_shared<detail::stream_core>(options.limit_bytes);
    co_await create_unix_connection(core_factory(core), std::move(path), options.connect);
    co_return halves(std::move(core));
}
task<stream> open_unix_connection(socket connected, stream_unix_options options) {
    auto core = std::make_shared<detail::stream_core>(options.limit_bytes);
    co_await create_unix_connection(core_factory(core), std::move(connected));
    co_return halves(std::move(core));
}
task<stream> open_connection(stream_connector connect, stream_options options) {
    auto core = std::make_shared<detail::stream_core>(options.limit_bytes);
    stream made = halves(core);  // closes what a `connect` that fails has connected
    co_await connect(core_factory(core));
    if (!core->link()) co_return error(errc::invalid_state, "streams on no connection");
    co_return made;
}

// ---- pipes

namespace {

std::shared_ptr<detail::stream_core> reading_core(std::size_t limit_bytes) {
    auto core = std::make_shared<detail::stream_core>(limit_bytes);
    core->close_with_reader();
    return core;
}

/// A descriptor of the loop's own for a standard one, which stays as it is.
result<pipe_end> standard(int fd) {
    loop& home = loop::current();
    auto copy = io::duplicate(home, fd);
    if (!copy) return copy.error();
    io::disown(home, *copy);  // `adopt` counts it
    return pipe_end::adopt(home, *copy);
}

task<stream_writer> open_standard(int fd) {
    auto core = std::make_shared<detail::stream_core>(default_stream_limit_bytes);
    co_await detail::write_to(core_factory(core), co_await standard(fd), detail::file_too);
    co_return stream_writer(std::move(core));
}

}  // namespace

task<stream_reader> open_read_pipe(pipe_end given, std::size_t limit_bytes) {
    auto core = reading_core(limit_bytes);
    co_await connect_read_pipe(core_factory(core), std::move(given));
    co_return stream_reader(std::move(core));
}
task<stream_reader> open_read_pipe(int fd, std::size_t limit_bytes) {
    auto core = reading_core(limit_bytes);
    co_await connect_read_pipe(core_factory(core), fd);
    co_return stream_reader(std::move(core));
}
task<stream_writer> open_write_pipe(pipe_end given) {
    auto core = std::make_shared<detail::stream_core>(default_stream_limit_bytes);
    co_await connect_write_pipe(core_factory(core), std::move(given));
    co_return stream_writer(std::move(core));
}
task<stream_writer> open_write_pipe(int fd) {
    auto core = std::make_shared<detail::stream_core>(default_stream_limit_bytes);
    co_await connect_write_pipe(core_factory(core), fd);
    co_return stream_writer(std::move(core));
}
task<stream_reader> open_standard_input(std::size_t limit_bytes) {
    auto core = reading_core(limit_bytes);
    co_await detail::read_from(core_factory(core), co_await standard(STDIN_FILENO),
                               detail::file_too);
    co_return stream_reader(std::move(core));
}
task<stream_writer> open_standard_output() { return open_standard(STDOUT_FILENO); }
task<stream_writer> open_standard_error() { return open_standard(STDERR_FILENO); }

}  // namespace ouro
