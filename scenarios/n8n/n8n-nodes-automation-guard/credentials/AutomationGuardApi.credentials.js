'use strict';

/** Where Guard is, and the client key that it knows this n8n by. */
class AutomationGuardApi {
  constructor() {
    this.name = 'automationGuardApi';
    this.displayName = 'Automation Guard API';
    this.icon = 'file:guard.svg';
    this.properties = [
      {
        displayName: 'Address',
        name: 'baseUrl',
        type: 'string',
        default: '',
        required: true,
        placeholder: 'https://guard.example.com',
        description: 'The address of Guard as n8n reaches it, without a path',
      },
      {
        displayName: 'Client Key',
        name: 'clientKey',
        type: 'string',
        typeOptions: { password: true },
        default: '',
        required: true,
        description: "The key of a client in Guard's settings; it opens the targets that this client names",
      },
    ];
    this.authenticate = { type: 'generic', properties: { headers: { 'Guard-Key': '={{$credentials.clientKey}}' } } };
    this.test = {
      request: { baseURL: '={{$credentials.baseUrl.trim().replace(/\\/+$/, "")}}', url: '/v1/runs', qs: { limit: 1 } },
    };
  }
}

module.exports = { AutomationGuardApi };
