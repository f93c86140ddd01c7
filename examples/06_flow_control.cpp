// A producer that is faster than its reader: the transport says when to pause and when to go on.
#include <cstdio>

#include <ouro/ouro.hpp>

constexpr std::size_t chunk_bytes = 32 * 1024;
constexpr std::size_t total_bytes = 32 * 1024 * 1024;

class producer : public ouro::protocol {
  public:
    int pauses = 0;
    int resumes = 0;
    std::size_t most_queued = 0;

    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
        produce();
    }
    void pause_writing() override {  // called from inside the write that filled the queue
        ++pauses;
        paused_ = true;
    }
    void resume_writing() override {
        ++resumes;
        paused_ = false;
        produce();
    }

  private:
    void produce() {
        while (!paused_ && produced_ < total_bytes) {
            produced_ += chunk_bytes;
            link_->write(chunk_);
            most_queued = std::max(most_queued, link_->get_write_buffer_size());
        }
        if (produced_ == total_bytes) link_->close();  // once everything is sent
    }

    std::shared_ptr<ouro::transport> link_;
    std::vector<std::byte> chunk_ = std::vector<std::byte>(chunk_bytes);
    std::size_t produced_ = 0;
    bool paused_ = false;
};

ouro::task<int> consume() {
    auto source = std::make_shared<producer>();
    auto server = co_await ouro::create_server([source] { return source; }, "127.0.0.1", 0);
    auto [reader, writer] = co_await ouro::open_connection(server.addresses().front());

    std::size_t consumed = 0;
    while (true) {
        const std::size_t count = (co_await reader.read(chunk_bytes)).size();
        if (count == 0) break;
        consumed += count;
        co_await ouro::yield();  // a slow reader
    }
    server.close();
    std::printf(
        "%zu MiB consumed; paused %d times, resumed %d times, never more than %zu KiB queued\n",
        consumed >> 20, source->pauses, source->resumes, source->most_queued >> 10);
    const bool bounded = source->most_queued <= 128 * 1024;
    co_return consumed == total_bytes && source->pauses == source->resumes&& bounded ? 0 : 1;
}

int main() { return ouro::run(consume); }
