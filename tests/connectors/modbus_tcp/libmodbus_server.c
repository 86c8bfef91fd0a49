/* A Modbus/TCP server on Debian's libmodbus, to read what is not pymodbus and not ours.
 * Holding registers 0…199 hold their number times 3; 10 and 11 the float 50.24; input register 1 is 0x404D; odd
 * coils are on. Prints its port, serves until it is killed. */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
    modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *mapping = modbus_mapping_new(200, 200, 200, 200);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (context == NULL || mapping == NULL || bind(listener, (struct sockaddr *) &address, size) != 0
        || listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *) &address, &size) != 0)
        return EXIT_FAILURE;

    for (int number = 0; number < 200; number++) {
        mapping->tab_registers[number] = (uint16_t) (number * 3);
        mapping->tab_bits[number] = number % 2;
        mapping->tab_input_bits[number] = number % 3 == 0;
    }
    /* modbus_set_float_abcd of libmodbus 3.1.6 swaps the bytes of each register on little-endian hosts. */
    mapping->tab_registers[10] = 0x4248;
    mapping->tab_registers[11] = 0xF5C3;
    mapping->tab_input_registers[1] = 0x404D;

    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        int length;
        if (modbus_tcp_accept(context, &listener) == -1)
            return EXIT_FAILURE;
        while ((length = modbus_receive(context, query)) != -1)
            modbus_reply(context, query, length, mapping);
        modbus_close(context);
    }
}
